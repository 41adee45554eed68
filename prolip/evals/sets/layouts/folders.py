"""Images in class folders, as ImageNet's variants and most others are distributed."""

import os
from collections.abc import Mapping
from pathlib import Path

from prolip.data.files.names import is_image_name, printable
from prolip.data.files.reading import read_file
from prolip.data.files.walk import walk
from prolip.data.records import BadRecord, DataError
from prolip.evals.sets import class_names
from prolip.evals.sets.listing import Listing, labelled


def any_classes(root: Path) -> Listing:
    """Every first folder is a class, which is called as the folder, `_` as a blank.

    Raises:
      DataError: no image lies in such a folder.
    """
    files = images(root)
    classes = sorted({name.split("/")[0] for name in files})
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
    found = {name.split("/")[0] for name in files}
    known = {name: name if name in names else by_number.get(name, "") for name in found}
    if strange := sorted(name for name, identity in known.items() if not identity):
        raise DataError(
            f"{printable(root)} has a folder {printable(strange[0])!r}, which is neither a WordNet "
            "id of ImageNet-1k nor a class number"
        )
    present = set(known.values())
    kept = {i: name for i, name in names.items() if all_classes or i in present}
    return _listing(root, files, known, kept)


def images(root: Path) -> dict[str, str]:
    """Paths of the images that lie in folders below the root, in order, to why one can't be used.

    Raises:
      DataError: there is none, or the root or a folder in it can't be read.
    """
    real = os.path.realpath(root)
    found = {}
    for name, reason, _ in sorted(walk(real)):
        if is_image_name(name) and "/" in name:
            found[name] = reason
        elif reason and not is_image_name(name):  # A folder: nobody knows what is missing.
            raise DataError(
                f"{printable(os.path.join(root, name))}: {reason}; put the folder itself there"
            )
    if not found:
        raise DataError(f"{printable(root)} has no class folders with images")
    return found


def _listing(
    root: Path, files: Mapping[str, str], class_of: Mapping[str, str], names: Mapping[str, str]
) -> Listing:
    real, paths = os.path.realpath(root), list(files)

    def read(row: int) -> bytes:
        if reason := files[paths[row]]:
            raise BadRecord(reason)
        return read_file(os.path.join(real, paths[row]))

    return labelled(
        [printable(name) for name in files],
        read,
        [class_of[name.split("/")[0]] for name in files],
        list(names),
        list(names.values()),
    )


def _spoken(classes: list[str]) -> dict[str, str]:
    return {name: printable(name).replace("_", " ") for name in classes}
