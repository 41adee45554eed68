"""HierarCaps: a table of caption hierarchies, `general => ... => specific`, and COCO's images."""

import csv
import os
import re
from pathlib import Path

import numpy as np

from prolip.data.files.names import printable
from prolip.data.files.reading import read_file
from prolip.data.image import decode
from prolip.data.records import DataError
from prolip.evals.sets.listing import MAX_PIXELS, Captions, Listing

TABLE = "hierarcaps_test.csv"
COLUMNS = ("captions", "image_url")
FOLDERS = ("assets/test_imgs", "test_imgs", "val2014", "images/val2014", "images", "")
LEVELS = 4


def read(root: Path) -> Listing:
    """The rows in order.

    Args:
      root: holds the table, in it or in `data`, and the images, in it or in a folder
        `assets/test_imgs` or `val2014`.

    Raises:
      DataError: the table is missing or of another form, or an image is not there.
    """
    path = next((p for p in (root / TABLE, root / "data" / TABLE) if p.is_file()), root / TABLE)
    texts, names = _rows(path)
    folder = next((root / f for f in FOLDERS if (root / f / names[0]).is_file()), root)
    there = set(os.listdir(folder))
    if missing := [name for name in names if name not in there]:
        raise DataError(
            f"{printable(folder)} lacks {len(missing):,} of the {len(names):,} images of {TABLE}, "
            f"the first is {printable(missing[0])}"
        )
    numbers = [re.search(r"(\d+)\.\w+$", name) for name in names]
    return Listing(
        keys=tuple(names),
        open=lambda row: decode(read_file(folder / names[row]), MAX_PIXELS),
        labels=np.zeros(0, np.int32),
        captions=Captions(
            tuple(texts),
            np.arange(len(texts)),
            np.repeat(np.arange(len(names)), LEVELS),
            np.array([int(n[1]) if n else row for row, n in enumerate(numbers)], np.int64),
            LEVELS,
        ),
    )


def _rows(path: Path) -> tuple[list[str], list[str]]:
    """Captions, as many for each row, and names of the images' files."""
    try:
        with open(path, encoding="utf8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{printable(path)} can't be read as a table: {error}") from error
    if not rows or any(row.get(name) is None for row in rows for name in COLUMNS):
        raise DataError(f"{printable(path)} has no rows of {' and '.join(COLUMNS)}")
    texts, names = [], []
    for number, row in enumerate(rows):
        levels = [text.strip() for text in row["captions"].split("=>")]
        if len(levels) != LEVELS:
            raise DataError(
                f"{printable(path)}, row {number}: {len(levels)} captions between =>, not {LEVELS}"
            )
        texts += levels
        names.append(row["image_url"].rsplit("/", 1)[-1])
    return texts, names
