"""Flickr30k: 1,000 test images with five captions each, R@K both ways and their sum."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prolip.evals.given import Embeddings
from prolip.evals.metrics import KS
from prolip.evals.retrieval import retrieval

NUM_IMAGES, PER_IMAGE = 1_000, 5
WAYS = ("image_to_text", "text_to_image")


def flickr30k(
    images: Embeddings,
    texts: Embeddings,
    image_of_text: Any = None,
    *,
    ks: Sequence[int] = KS,
    block: int = 1024,
) -> dict[str, float]:
    """R@K on Karpathy's test split of Flickr30k, by CSD and by means alone.

    Args:
      images: Gaussians, or points [1000, dim].
      texts: of the 5,000 captions.
      image_of_text: Int[5000], the row of each caption's image; None: five captions in a row
        belong to each image. `karpathy.read` gives it.
      ks: at which K recall is measured.
      block: queries scored at a time.

    Returns:
      `flickr30k/<way>/recall@K` and `flickr30k/<way>/mean/recall@K`, `median_rank` likewise, and
      `flickr30k/rsum` and `flickr30k/mean/rsum`: the sum of recalls in %.

    Raises:
      ValueError: not 1,000 images with five captions each, or an embedding that is not a number.
    """
    if image_of_text is None:
        image_of_text = np.repeat(np.arange(NUM_IMAGES), PER_IMAGE)
    own = np.asarray(image_of_text, np.int64)
    counts = np.bincount(own, minlength=NUM_IMAGES) if len(own) and own.min() >= 0 else own
    if counts.shape != (NUM_IMAGES,) or (counts != PER_IMAGE).any():
        raise ValueError(
            f"Flickr30k's test split has {NUM_IMAGES:,} images with {PER_IMAGE} captions each; "
            f"got captions of {len(np.unique(own)):,} images, {len(own):,} in all"
        )
    values = retrieval(images, texts, own[:, None], ks=ks, block=block)
    result: dict[str, float] = {}
    for variant in ("", "mean/"):
        metrics = [f"recall@{k}" for k in ks]
        recalls = {f"{way}/{variant}{name}" for way in WAYS for name in metrics}
        medians = {f"{way}/{variant}median_rank" for way in WAYS}
        result |= {
            f"flickr30k/{name}": values[name] for name in values if name in recalls | medians
        }
        result[f"flickr30k/{variant}rsum"] = 100 * sum(values[name] for name in recalls)
    return result
