"""What is in an evaluation set: images by name, with the class or the captions of each."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from prolip.data.image import decode
from prolip.data.records import DataError

MAX_PIXELS = 178_000_000  # The sets are known, and some of their images large.


@dataclasses.dataclass(frozen=True)
class Captions:
    """The captions of a set for retrieval, in the order of its images."""

    texts: tuple[str, ...]
    ids: np.ndarray  # Int64[captions], as the file numbers them.
    image_of_text: np.ndarray  # Int64[captions]: row of each caption's image.
    image_ids: np.ndarray  # Int64[images], as the file numbers them.
    # Of each image, from general to specific, in a row; 0: captions are not of levels.
    levels: int = 0


@dataclasses.dataclass(frozen=True)
class Listing:
    """A set without its pixels; either classes or `captions` are filled."""

    keys: tuple[str, ...]  # Of the images: a path below the folder, or a number.
    open: Callable[[int], Image.Image]  # The image of a row, in the mode that it is stored in.
    labels: np.ndarray  # Int32[images]: class of each image; of length 0 for retrieval.
    classes: tuple[str, ...] = ()  # What the files call the classes: WordNet ids, folders.
    names: tuple[str, ...] = ()  # What people call them, for prompts.
    captions: Captions | None = None
    # Where several classes can be right: Int8[images, classes], RIGHT, WRONG or LEFT_OUT.
    valid: np.ndarray | None = None
    # What else the files say: templates of a set that brings its own.
    templates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # Sentences on what is left out, or to be known of the classes.

    def __len__(self) -> int:
        return len(self.keys)

    def digest(self) -> str:
        """SHA-256 of the names of all images in order, with their class or their captions.

        Of the listing alone: no pixel is read.
        """
        digest = hashlib.sha256()
        for row, key in enumerate(self.keys):
            label = self.classes[self.labels[row]] if len(self.labels) else ""
            digest.update(f"{key}\t{label}\n".encode())
        if self.valid is not None:
            digest.update(self.valid.tobytes())
        if self.captions is not None:
            own = zip(self.captions.ids, self.captions.image_of_text, strict=True)
            digest.update("".join(f"{i}\t{row}\n" for i, row in own).encode())
            digest.update("\n".join(self.captions.texts).encode())
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> "Listing":
        """Some images in the order of the rows, with all classes; captions of others are left out.

        Args:
          rows: Int[some], ascending.
        """
        place = {int(row): i for i, row in enumerate(rows)}
        captions = self.captions
        if captions is not None:
            kept = [i for i, row in enumerate(captions.image_of_text.tolist()) if row in place]
            captions = Captions(
                tuple(captions.texts[i] for i in kept),
                captions.ids[kept],
                np.array([place[int(captions.image_of_text[i])] for i in kept], np.int64),
                captions.image_ids[rows],
                captions.levels,
            )
        open_row = self.open
        return dataclasses.replace(
            self,
            keys=tuple(self.keys[row] for row in rows),
            open=lambda i: open_row(int(rows[i])),
            labels=self.labels[rows] if len(self.labels) else self.labels,
            captions=captions,
            valid=self.valid if self.valid is None else self.valid[rows],
        )


def labelled(
    keys: Sequence[str],
    read: Callable[[int], bytes],
    labels: Sequence[str],
    classes: Sequence[str],
    names: Sequence[str],
    templates: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Listing:
    """A set of encoded images with a class each.

    Args:
      keys: names of the images.
      read: bytes of the image of a row.
      labels: for each image one of `classes`.
      classes: all that can be answered, in the order of their numbers.
      names: of the classes, as many.
      templates: of prompts, where the files bring them.
      notes: sentences on what was left out.

    Raises:
      DataError: a label that is none of the classes.
    """
    number = {name: i for i, name in enumerate(classes)}
    for key, label in zip(keys, labels, strict=True):
        if label not in number:
            raise DataError(f"{key} is of class {label!r}, which is none of the {len(number):,}")
    return Listing(
        keys=tuple(keys),
        open=lambda row: decode(read(row), MAX_PIXELS),
        labels=np.array([number[label] for label in labels], np.int32),
        classes=tuple(classes),
        names=tuple(names),
        templates=tuple(templates),
        notes=tuple(notes),
    )
