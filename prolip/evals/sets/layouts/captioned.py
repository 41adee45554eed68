"""COCO and Flickr30k: a folder of images and Karpathy's `dataset_*.json`."""

import os
from pathlib import Path

import numpy as np

from prolip.data.files.names import printable
from prolip.data.files.reading import read_file
from prolip.data.image import decode
from prolip.data.records import DataError
from prolip.evals.benchmarks import karpathy
from prolip.evals.sets.listing import MAX_PIXELS, Captions, Listing

FOLDERS = ("", "val2014", "images", "images/val2014", "flickr30k-images", "flickr30k_images")


def read(root: Path, file: str, per_image: int = 5) -> Listing:
    """The test part in the order of the file.

    Args:
      root: holds the file and the images: in it, or in a folder `val2014`, `images`,
        `flickr30k-images`.
      file: `dataset_coco.json`.
      per_image: captions of an image that count, the first ones: some of COCO's have six or seven,
        and the benchmarks take five (25,000 of 25,010).

    Raises:
      DataError: the file is missing or of another form, or an image is not there.
    """
    split = karpathy.read(root / file)
    folder = _folder(root, split.filenames[0])
    there = set(os.listdir(folder))
    missing = [name for name in split.filenames if name not in there]
    if missing:
        raise DataError(
            f"{printable(folder)} lacks {len(missing):,} of the {len(split.filenames):,} images of "
            f"{file}, the first is {missing[0]}"
        )
    # The place of a caption among those of its image.
    first = np.searchsorted(split.image_of_text, split.image_of_text)
    kept = np.flatnonzero(np.arange(len(split.captions)) - first < per_image)
    return Listing(
        keys=tuple(split.filenames),
        open=lambda row: decode(read_file(folder / split.filenames[row]), MAX_PIXELS),
        labels=np.zeros(0, np.int32),
        captions=Captions(
            tuple(split.captions[i] for i in kept),
            split.caption_ids[kept],
            split.image_of_text[kept],
            split.image_ids,
        ),
    )


def _folder(root: Path, name: str) -> Path:
    for folder in FOLDERS:
        if (root / folder / name).is_file():
            return root / folder
    raise DataError(
        f"{printable(root)} has no image {name}, neither in it nor in "
        f"{', '.join(folder for folder in FOLDERS if folder)}"
    )
