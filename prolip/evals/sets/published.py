"""Which sets' ids are known without their files, and whether those that were read are the same."""

import hashlib
from typing import NamedTuple

import numpy as np

from prolip.evals.sets.listing import Listing


class Published(NamedTuple):
    """SHA-256 of the ids, see `digest`."""

    images: str
    captions: str


# `coco`: the 5,000 images and 25,000 captions of `eccv-caption` 0.1.0 (`prolip[eval]`), which are
# those of COCO's test part that COCO 5K, CxC and ECCV Caption judge.
PUBLISHED = {
    "coco": Published(
        images="d20da3dd48646d91a7ff7837c1c1f591d52c75e72921b2fd7f6854dc1093339f",
        captions="913c01643dcef07102e6874469fcb25e3f1017f88c228729153e6aca80954722",
    ),
}


def digest(ids: np.ndarray) -> str:
    """SHA-256 of integer ids in ascending order, each with a line of its own."""
    lines = "".join(f"{number}\n" for number in np.sort(ids).tolist())
    return hashlib.sha256(lines.encode()).hexdigest()


def as_published(name: str, listing: Listing) -> dict[str, bool] | None:
    """Whether the ids of the images and of the captions are the published ones.

    Args:
      name: Of the set.
      listing: What was read.

    Returns:
      None where nothing is known of the set's ids.
    """
    published, captions = PUBLISHED.get(name), listing.captions
    if published is None or captions is None:
        return None
    return {
        "images": digest(captions.image_ids) == published.images,
        "captions": digest(captions.ids) == published.captions,
    }
