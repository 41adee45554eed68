"""Who matches whom among COCO's 5,000 test images and 25,000 captions: COCO, CxC, ECCV Caption.

The files are those of the `eccv-caption` package (`prolip[eval]`), of which nothing is imported, or
copies of them in a folder.
"""

import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from prolip.data.records import DataError

PACKAGE = "eccv_caption"
INSTALL = "pip install 'prolip[eval]', or give the folder that holds its data files"
ORDER = "coco_test_ids.npy"
NAMES = {"coco": "original", "cxc": "cxc", "eccv": "eccv"}
NUM_IMAGES, NUM_CAPTIONS, NUM_FOLDS = 5_000, 25_000, 5

Matches = dict[int, np.ndarray]  # Id of a query -> ids of its targets.


class GroundTruth(NamedTuple):
    """One judgement of who matches whom."""

    image_to_text: Matches
    text_to_image: Matches


class Annotations(NamedTuple):
    """The test part of COCO by ids, and three judgements of it."""

    image_ids: np.ndarray  # Int64[5000], ascending.
    caption_ids: np.ndarray  # Int64[25000], in the order that is cut into the five folds.
    image_of_caption: np.ndarray  # Int64[25000]: ids, in the order of `caption_ids`.
    coco: GroundTruth  # The captions that were written for an image.
    cxc: GroundTruth  # Crisscrossed Captions, arXiv 2004.15020.
    eccv: GroundTruth  # ECCV Caption, arXiv 2204.03359; of some images and captions only.


def read(folder: str | Path | None = None) -> Annotations:
    """Reads and counts the annotations.

    Args:
      folder: with the seven data files; None takes those of the installed package.

    Raises:
      DataError: a file is missing, or there are not 5,000 images and 25,000 captions.
    """
    place = location() if folder is None else Path(folder)
    if place is None:
        raise DataError(f"the annotations of the COCO benchmarks are not here: {INSTALL}")
    if missing := [name for name in files() if not (place / name).is_file()]:
        raise DataError(f"{place} has no {missing[0]}: {INSTALL}")
    caption_ids = np.load(place / ORDER, allow_pickle=False).astype(np.int64)
    truths = [
        GroundTruth(*(_matches(place / name) for name in _pair(stem))) for stem in NAMES.values()
    ]
    coco = truths[0]
    image_ids = np.sort(np.fromiter(coco.image_to_text, np.int64))
    if unknown := [i for i in caption_ids.tolist() if i not in coco.text_to_image]:
        raise DataError(f"{place / ORDER} has caption {unknown[0]}, which belongs to no image")
    counts = len(image_ids), len(np.unique(caption_ids))
    if counts != (NUM_IMAGES, NUM_CAPTIONS) or len(caption_ids) != NUM_CAPTIONS:
        raise DataError(
            f"{place} has {counts[0]:,} images and {counts[1]:,} captions; "
            f"COCO's test part has {NUM_IMAGES:,} and {NUM_CAPTIONS:,}"
        )
    own = np.array([coco.text_to_image[i][0] for i in caption_ids.tolist()])
    return Annotations(image_ids, caption_ids, own, *truths)


def location() -> Path | None:
    """The data folder of the installed package, found without importing it; None without it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "data"


def files() -> list[str]:
    """Names of the files that a folder must hold."""
    return [ORDER, *(name for stem in NAMES.values() for name in _pair(stem))]


def _pair(stem: str) -> tuple[str, str]:
    return f"{stem}_image_to_caption.json", f"{stem}_caption_to_image.json"


def _matches(path: Path) -> Matches:
    table = json.loads(path.read_text())
    return {
        int(query): np.unique(np.array(targets, dtype=np.int64)) for query, targets in table.items()
    }
