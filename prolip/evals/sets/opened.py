"""From the words that name a set to a set that is read, counted, and ready to be measured."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prolip.config import ConfigError
from prolip.data.files.names import printable
from prolip.data.labels import named_alike
from prolip.data.near import unknown
from prolip.data.records import DataError
from prolip.evals.ledger import SET
from prolip.evals.multi_label import RIGHT, WRONG
from prolip.evals.sets import class_names, prompts, published
from prolip.evals.sets.address import Address, addresses
from prolip.evals.sets.known import BY_NAME, Known, read_tars
from prolip.evals.sets.layouts import prepared, stored
from prolip.evals.sets.listing import Listing
from prolip.evals.sets.pixels import readable
from prolip.evals.sets.prompts import Prompts
from prolip.evals.sets.real import with_real

TFDS = "tfds:"


@dataclasses.dataclass(frozen=True)
class Opened:
    """A set whose files are read, but for the pixels."""

    name: str  # Under which its results stand.
    known: Known
    listing: Listing
    prompts: Prompts | None  # None for retrieval.
    left_out: int  # Images that can't be decoded, of a set that is measured in part.
    partial: bool
    listing_digest: str  # `Listing.digest()`, made once.
    choose: bool = False  # Measure choices of prompts too, see `evals.prompt_choice`.

    @property
    def as_published(self) -> dict[str, bool] | None:
        """Whether ids of images and captions are the published ones; None: not known."""
        return published.as_published(self.known.name, self.listing)

    @property
    def about(self) -> dict[str, Any]:
        """What was measured: JSON values that stand beside its numbers."""
        listing = self.listing
        found: dict[str, Any] = {
            "set": self.known.name,
            "images": len(listing),
            # Of the images' names with their classes, or captions: no pixel is in it.
            "listing_sha256": self.listing_digest,
            "expected": self.known.counts,
            "partial": self.partial,
            "left_out": self.left_out,
        }
        if self.prompts is not None:
            names = "\n".join(map("\t".join, zip(listing.classes, listing.names, strict=True)))
            found |= {
                "classes": len(listing.classes),
                "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
                "prompts": self.prompts.name,
                "templates": len(self.prompts.templates),
                "templates_sha256": self.prompts.digest,
            }
        if self.choose:
            found["choose"] = "bprw"
        if listing.captions is not None:
            found["captions"] = len(listing.captions.texts)
        if self.as_published is not None:
            found["ids_as_published"] = self.as_published
        if listing.valid is not None:
            found["images_with_labels"] = int((listing.valid == RIGHT).any(1).sum())
        return found

    @property
    def evaluator(self) -> str:
        """Its name in a run's ledger: with other files, names or prompts it is another one."""
        words = json.dumps(self.about, sort_keys=True)
        return f"{SET}{self.name}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"

    @property
    def sentence(self) -> str:
        """What it is, for people."""
        parts = [f"{self.name}: {len(self.listing):,} images"]
        if self.prompts is not None:
            parts.append(
                f"{len(self.listing.classes):,} classes by the prompts {self.prompts.name}"
            )
        if self.listing.captions is not None:
            parts.append(f"{len(self.listing.captions.texts):,} captions")
        if self.as_published is not None:
            other = [what for what, same in self.as_published.items() if not same]
            are = f"ids of {' and '.join(other)} are not" if other else "ids are"
            parts.append(f"{are} the published ones")
        if self.partial:
            parts.append(f"a part of {self.known.counts}")
        return "; ".join([", ".join(parts), *self.listing.notes])


def names_of(sets: Sequence[str]) -> list[str]:
    """Returns the names under which results of `config.eval.sets` stand, without their files.

    Raises:
      ConfigError: one is of another form, or there is no such set.
    """
    try:
        asked = addresses(sets)
        for address in asked:
            _known(address)
    except ConfigError as error:
        raise ConfigError(f"config.eval.sets: {error}") from error
    return [address.name for address in asked]


def open_set(address: Address, threads: int = 4) -> Opened:
    """Reads and counts a set.

    Args:
      address: what it is, and where.
      threads: that look for images that can't be decoded, where a part may be measured. Of a
        whole set such an image is an error when it comes to it.

    Raises:
      ConfigError: there is no such set, or an option that doesn't fit.
      DataError: files are missing or of another form, or the numbers are not those of the set.
    """
    known = _known(address)
    listing = _read(known, address)
    _check(known, listing, address.partial)
    if address.real:
        if not known.real:
            raise ConfigError(f"{known.name} has no ReaL labels: real=FILE is for imagenet")
        listing = with_real(listing, address.real)
    left_out = 0
    if address.partial:
        rows = readable(listing, threads)
        left_out = len(listing) - len(rows)
        listing = listing.take(rows) if left_out else listing
    if not len(listing):
        raise DataError(f"{address.name} has no image that can be decoded")
    chosen = None
    if listing.captions is None:
        if address.names:
            named = class_names.from_file(address.names, listing.classes)
            notes = (*listing.notes, named.note) if named.note else listing.notes
            listing = dataclasses.replace(listing, names=named.names, notes=notes)
        if address.names or not known.classes_known()[1]:
            alike = named_alike(listing.classes, listing.names)
            notes = (*listing.notes, alike) if alike else listing.notes
            listing = dataclasses.replace(listing, notes=notes)
        if listing.templates and not address.prompts:
            chosen = prompts.checked(stored.TEMPLATES, listing.templates)
        elif known.templates and not address.prompts:
            chosen = prompts.checked(known.prompts_named, known.templates)
        else:
            chosen = prompts.read(address.prompts or known.prompts)
    elif address.names or address.prompts:
        raise ConfigError(f"{address.name} is for retrieval: it takes neither names nor prompts")
    if address.choose and (chosen is None or len(chosen.templates) < 2 or not len(listing.labels)):
        raise ConfigError(
            f"{address.name}: choose=bprw needs one class an image and several templates to choose "
            "from; prompts=siglip and prompts=openai have some"
        )
    return Opened(
        address.name,
        known,
        listing,
        chosen,
        left_out,
        address.partial,
        listing.digest(),
        address.choose,
    )


def _known(address: Address) -> Known:
    if address.kind not in BY_NAME:
        raise ConfigError(unknown(address.kind, BY_NAME, "there is no evaluation set"))
    return BY_NAME[address.kind]


def _read(known: Known, address: Address) -> Listing:
    if address.where.startswith(TFDS):
        folder = os.path.expanduser(address.where.removeprefix(TFDS))
        if known.form is not None:
            return prepared.read(folder, known.form)
        if known.tfds is None:
            raise ConfigError(f"{known.name} is not read from TFDS; give a folder")
        return stored.tfds(folder, known.tfds, *known.classes_known())
    root = Path(address.where).expanduser()
    if not root.is_dir():
        raise DataError(f"{address.name}: {printable(root)} is no folder; {_hint(known)}")
    try:
        if stored.has_tars(root) and known.form is None:
            if known.captions:
                raise DataError(
                    f"{printable(root)} has tars, and {known.name} is not read from tars"
                )
            return read_tars(known, root)
        return known.read(root)
    except (DataError, OSError) as error:
        raise DataError(f"{address.name}: {error}; {_hint(known)}") from error


def _hint(known: Known) -> str:
    return f"`prolip eval --list {known.name}` says how to get the files"


def _shown(listing: Listing) -> int:
    """Number of classes that an image shows."""
    if listing.valid is None or len(listing.labels):
        return len(np.unique(listing.labels))
    return int((listing.valid != WRONG).any(0).sum())


def _check(known: Known, listing: Listing, partial: bool) -> None:
    captions = listing.captions
    found = {
        "images": (len(listing), known.images),
        # Those of which there is an image: a folder that is missing is missed.
        "classes": (_shown(listing), known.classes),
        "captions": (len(captions.texts) if captions else 0, known.captions),
    }
    wrong = [
        f"{count:,} {what}, not {right:,}"
        for what, (count, right) in found.items()
        if right and count != right
    ]
    if wrong and not partial:
        raise DataError(
            f"{known.name} has {' and '.join(wrong)}; complete it, or measure what is there with "
            "partial=yes"
        )
