"""Images in class folders, as ImageNet's variants and most others are distributed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from prolip.data.files.names import is_image_name, printable
from prolip.data.files.reading import read_file
from prolip.data.files.walk import image_files
from prolip.data.records import BadRecord, DataError
from prolip.evals.sets import class_names
from prolip.evals.sets.listing import Listing, labelled


class Images(NamedTuple):
    """The images that lie in class folders."""

    reasons: Mapping[str, str]  # Path below the root, in order, to why it can't be used, or "".
    notes: Sequence[str]  # Sentences on what is left out.


def any_classes(root: Path) -> Listing:
    """Every first folder is a class, which is called as the folder, `_` as a blank.

    Classes are in the order of their names, or of their numbers where all are called by one.

    Raises:
      DataError: no image lies in such a folder.
    """
    files = images(root)
    classes = class_names.in_order({name.split("/")[0] for name in files.reasons})
    return _listing(root, files, {name: name for name in classes}, _spoken(classes))


def imagenet(root: Path, all_classes: bool = True) -> Listing:
    """Folders that are called by WordNet ids, or by ImageNet's class numbers 0 to 999 (as V2's).

    Args:
      root: holds the class folders.
      all_classes: whether all 1,000 classes can be answered, or only those that have a folder.

    Raises:
      DataError: a folder is called otherwise, or there is none.
    """
    names = class_names.imagenet()
    by_number = dict(zip(map(str, range(len(names))), names, strict=True))
    files = images(root)
    found = {name.split("/")[0] for name in files.reasons}
    known = {name: name if name in names else by_number.get(name, "") for name in found}
    if strange := sorted(name for name, identity in known.items() if not identity):
        raise DataError(
            f"{printable(root)} has a folder {printable(strange[0])!r}, which is neither a WordNet "
            "id of ImageNet-1k nor a class number"
        )
    present = set(known.values())
    kept = {i: name for i, name in names.items() if all_classes or i in present}
    return _listing(root, files, known, kept)


def images(root: Path) -> Images:
    """The images that lie in folders below the root.

    Raises:
      DataError: there is none, or the root or a folder in it can't be read.
    """
    files = image_files(os.path.realpath(root))
    found = {}
    for name, reason, _ in files.images:
        if is_image_name(name) and "/" in name:
            found[name] = reason
        elif reason and not is_image_name(name):  # A folder: nobody knows what is missing.
            raise DataError(
                f"{printable(os.path.join(root, name))}: {reason}; put the folder itself there"
            )
    notes = [*files.class_notes(), *files.notes()]
    if not found:
        left_out = "".join(f"; {note}" for note in notes)
        raise DataError(f"{printable(root)} has no class folders with images{left_out}")
    return Images(found, notes)


def _listing(
    root: Path, files: Images, class_of: Mapping[str, str], names: Mapping[str, str]
) -> Listing:
    real, paths = os.path.realpath(root), list(files.reasons)

    def read(row: int) -> bytes:
        if reason := files.reasons[paths[row]]:
            raise BadRecord(reason)
        return read_file(os.path.join(real, paths[row]))

    return labelled(
        [printable(name) for name in paths],
        read,
        [class_of[name.split("/")[0]] for name in paths],
        list(names),
        list(names.values()),
        notes=files.notes,
    )


def _spoken(classes: Sequence[str]) -> dict[str, str]:
    return {name: printable(name).replace("_", " ") for name in classes}
