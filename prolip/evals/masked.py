"""Do originals lie inside their masked views? What the inclusion loss asks for, on held-out data.

Views are made as in training (ProLIP, arXiv 2410.18857, section 3.3): an image keeps three quarters
of its patches, a text a quarter of its tokens. The draws are the same for every checkpoint.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from prolip.evals.context import MaskedViews, host_gaussian, joined, take, variance_trace
from prolip.evals.inclusion import inclusion_metrics
from prolip.evals.metrics import blocks
from prolip.gaussian import Gaussian
from prolip.models import text

KEEP, DROP = 0.75, 0.75  # Part of the patches that stays, and of the tokens that goes.
MOST = 2048  # Images, and texts; a rate over so many is right to about one in a hundred.
SEED = 0
NONE = host_gaussian(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))


class Masking(Protocol):
    """A model that embeds images of which some patches are hidden."""

    @property
    def num_patches(self) -> int:
        """Of an image."""

    def masked_image(self, images: np.ndarray, keep: np.ndarray) -> Gaussian:
        """uint8 [batch, height, width, 3], of which only the patches `keep` are seen."""


def masked_tokens(ids: np.ndarray, pad_id: int, mask_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of which each that isn't padding is hidden with the probability `DROP`.

    Args:
      ids: Int[texts, length].
      pad_id: of padding, which stays.
      mask_id: of hidden tokens.

    Returns:
      The ids, and the rows of the texts of which something is hidden.
    """
    draws = jnp.asarray(np.random.default_rng(SEED).random(ids.shape))
    masked = text.masked(jnp.asarray(ids), draws, drop=DROP, pad_id=pad_id, mask_id=mask_id)
    hidden = np.asarray(masked).astype(ids.dtype)
    return hidden, np.flatnonzero((hidden != ids).any(1))


def maker(
    split: Any,
    model: Any,
    tokenize: Callable[[list[str]], np.ndarray],
    captions: Sequence[str],
    num_images: int,
    batch: int,
) -> Callable[[], MaskedViews] | None:
    """What makes the masked views of a split, of up to about `MOST` images and texts each.

    Args:
      split: gives its images in batches.
      model: an encoder, and a `Masking`, or nothing is made.
      tokenize: a tokenizer, which says its `pad_id` and `mask_id`, or nothing is made.
      captions: of the split.
      num_images: of the split.
      batch: items of a batch.
    """
    knows = (hasattr(model, "masked_image"), hasattr(tokenize, "mask_id"))
    if not all(knows):
        return None
    return lambda: MaskedViews(
        *_masked_images(split, model, num_images, batch),
        *_masked_texts(model, tokenize, captions, batch),
    )


def _masked_images(
    split: Any, model: Masking, num_images: int, batch: int
) -> tuple[Gaussian, np.ndarray]:
    """Every nth batch; each keeps patches of its own."""
    kept = int(KEEP * model.num_patches)
    every = max(1, -(-num_images // MOST))
    starts = range(0, num_images, every * batch)
    if not 0 < kept < model.num_patches or not num_images:
        return NONE, np.zeros(0, np.int64)
    found = []
    for number, images in enumerate(split.images(batch, (0, every))):
        order = np.random.default_rng([SEED, number]).permutation(model.num_patches)
        found.append(model.masked_image(images, np.sort(order[:kept]).astype(np.int32)))
    rows = [np.arange(start, min(start + batch, num_images)) for start in starts]
    return joined(found), np.concatenate(rows)


def _masked_texts(
    model: Any, tokenize: Any, captions: Sequence[str], batch: int
) -> tuple[Gaussian, np.ndarray]:
    """Texts that are evenly spread; those of which nothing is hidden are left out."""
    rows = np.unique(np.linspace(0, len(captions) - 1, min(len(captions), MOST)).astype(np.int64))
    ids = tokenize([captions[row] for row in rows])
    hidden, some = masked_tokens(ids, tokenize.pad_id, tokenize.mask_id)
    if not len(some):
        return NONE, some
    found = [model.text(hidden[some[part]]) for part in blocks(len(some), batch)]
    return joined(found), rows[some]


def inclusion_of_originals(
    images: Gaussian, texts: Gaussian, make: Callable[[], MaskedViews] | None, block: int = 4096
) -> dict[str, float]:
    """Measures how well the inclusion test finds the original of a masked view, and its rates.

    Args:
      images: all images.
      texts: all texts.
      make: gives the views; None where the model can't make any.
      block: pairs at a time.

    Returns:
      For `masked_image/` and `masked_text/`: the numbers of `inclusion_metrics`, whose other inner
      items are the originals of other views; `wider_rate` (the view has the larger trace) and
      `num_views`. Nothing where a variance is zero, or nothing can be hidden.
    """
    sides = (images, texts)
    if make is None or not all(np.isfinite(np.asarray(side.log_var)).all() for side in sides):
        return {}
    views = make()
    result: dict[str, float] = {}
    for name, originals, outer, rows in (
        ("masked_image", images, views.images, views.image_rows),
        ("masked_text", texts, views.texts, views.text_rows),
    ):
        if not len(rows):
            continue
        inner = take(originals, rows)
        measured = inclusion_metrics(inner, outer, [np.array([i]) for i in range(len(rows))], block)
        measured.pop("num_pairs", None)  # One a view.
        result |= {f"{name}/{key}": value for key, value in measured.items()} | {
            f"{name}/wider_rate": float((variance_trace(outer) > variance_trace(inner)).mean()),
            f"{name}/num_views": float(len(rows)),
        }
    return result
