"""CIFAR-10 and CIFAR-100 in the binary form; the form for Python is of pickles, which are not read.

Source: Krizhevsky 2009. A record is its label bytes and 3,072 bytes: 32 x 32 red, then green, blue.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from prolip.data.files.names import printable
from prolip.data.records import DataError
from prolip.evals.sets import class_names
from prolip.evals.sets.listing import Listing

SIDE = 32


class Form(NamedTuple):
    """How one of the two is stored."""

    folder: str  # Of the archive.
    images: str
    names: str
    label_bytes: int  # Of which the last one counts: of CIFAR-100, the finer class.


CIFAR10 = Form("cifar-10-batches-bin", "test_batch.bin", "batches.meta.txt", 1)
CIFAR100 = Form("cifar-100-binary", "test.bin", "fine_label_names.txt", 2)


def is_binary(root: Path, form: Form) -> bool:
    """Whether the folder is the archive's, or holds it."""
    return _folder(root, form) is not None


def read(root: Path, form: Form) -> Listing:
    """The test images in the order of the file.

    Raises:
      DataError: files of another size, or a class without a name.
    """
    folder = _folder(root, form)
    if folder is None:
        raise DataError(f"{printable(root)} has no {form.folder}/{form.images}")
    names = class_names.lines(folder / form.names)
    stored = np.fromfile(folder / form.images, np.uint8)
    size = form.label_bytes + 3 * SIDE * SIDE
    if not len(stored) or len(stored) % size:
        raise DataError(f"{printable(folder / form.images)} is not of records of {size:,} bytes")
    records = stored.reshape(-1, size)
    labels = records[:, form.label_bytes - 1].astype(np.int32)
    if labels.max() >= len(names):
        raise DataError(f"{printable(folder / form.names)} has no name for class {labels.max()}")
    pixels = records[:, form.label_bytes :].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Listing(
        keys=tuple(f"{form.images}::{row}" for row in range(len(records))),
        open=lambda row: Image.fromarray(np.ascontiguousarray(pixels[row])),
        labels=labels,
        classes=tuple(names),
        names=tuple(name.replace("_", " ") for name in names),
    )


def _folder(root: Path, form: Form) -> Path | None:
    return next((f for f in (root, root / form.folder) if (f / form.images).is_file()), None)
