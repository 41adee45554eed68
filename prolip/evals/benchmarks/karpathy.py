"""Karpathy's split files (`dataset_coco.json`, `dataset_flickr30k.json`): what is in a split."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prolip.data.records import DataError


class Split(NamedTuple):
    """Images and captions of a split, in the order of the file."""

    filenames: list[str]  # Of the images.
    image_ids: np.ndarray  # Int64[images]: COCO's ids; Flickr30k has none, so its own numbers.
    captions: list[str]
    caption_ids: np.ndarray  # Int64[captions]: COCO's annotation ids.
    image_of_text: np.ndarray  # Int64[captions]: row of each caption's image.


def read(path: str | Path, split: str = "test") -> Split:
    """Reads a split file.

    Source: Karpathy and Fei-Fei, arXiv 1412.2306. COCO's test split has 25,010 captions, of which
    the benchmarks use 25,000: `benchmarks.coco` takes them by their ids.

    Raises:
      DataError: not such a file, or it has nothing in the split.
    """
    try:
        images = json.loads(Path(path).read_text())["images"]
        chosen = [image for image in images if image["split"] == split]
        captions = [(row, text) for row, image in enumerate(chosen) for text in image["sentences"]]
        result = Split(
            [image["filename"] for image in chosen],
            np.array([_image_id(image) for image in chosen], np.int64),
            [text["raw"] for _, text in captions],
            np.array([text["sentid"] for _, text in captions], np.int64),
            np.array([row for row, _ in captions], np.int64),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a split file of Karpathy's form ({error!r})") from error
    if not result.filenames:
        raise DataError(f"{path} has no image in the split {split!r}")
    return result


def _image_id(image: dict[str, Any]) -> int:
    return image.get("cocoid", image["imgid"])
