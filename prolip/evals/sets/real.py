"""ReaL: for each validation image of ImageNet all labels that people found right.

Source: "Are we done with ImageNet?", arXiv 2006.07159; `real.json` of
github.com/google-research/reassessed-imagenet is a list of 50,000 lists of class numbers, the first
that of ILSVRC2012_val_00000001. An image whose list is empty is left out.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from prolip.data.files.names import printable
from prolip.data.records import DataError
from prolip.evals.multi_label import LEFT_OUT, RIGHT, WRONG
from prolip.evals.sets import class_names
from prolip.evals.sets.layouts.imagenet_flat import NUMBERED
from prolip.evals.sets.listing import Listing

IMAGES = 50_000


def with_real(listing: Listing, path: str | Path) -> Listing:
    """The set with these labels beside its own, by the numbers in the names of its images.

    Args:
      listing: of ImageNet's validation images, with all 1,000 classes.
      path: of `real.json`.

    Raises:
      DataError: the file is of another form, or an image has no such name.
    """
    lists = _read(path)
    if listing.classes != tuple(class_names.imagenet()):
        raise DataError(
            f"{printable(path)} goes by ImageNet's 1,000 classes, the set has others; give its "
            "images as they are distributed"
        )
    names = [key.rpartition("/")[2] for key in listing.keys]
    matches = [NUMBERED.fullmatch(name) for name in names]
    numbers = [int(match[1]) if match else 0 for match in matches]
    valid = np.full((len(names), len(listing.classes)), WRONG, np.int8)
    for row, (key, number) in enumerate(zip(listing.keys, numbers, strict=True)):
        if not 0 < number <= len(lists):
            raise DataError(
                f"{key} is not called ILSVRC2012_val_00000001 to _{IMAGES:08}, by which "
                f"{printable(path)} goes"
            )
        valid[row, lists[number - 1]] = RIGHT
        if not lists[number - 1]:
            valid[row] = LEFT_OUT
    return dataclasses.replace(listing, valid=valid)


def _read(path: str | Path) -> list[list[int]]:
    try:
        found = json.loads(Path(path).expanduser().read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(path)} can't be read as JSON: {error}") from error
    if not isinstance(found, list) or len(found) != IMAGES:
        what = f"a list of {len(found):,}" if isinstance(found, list) else "no list"
        raise DataError(f"{printable(path)} has {what}, not of {IMAGES:,} lists of class numbers")
    most = len(class_names.imagenet())
    for number, row in enumerate(found, 1):
        good = isinstance(row, list) and all(type(n) is int and 0 <= n < most for n in row)
        if not good:
            raise DataError(f"{printable(path)}, image {number}: {row} is no list of class numbers")
    return found
