"""Triplet loss with a margin: over the hardest mismatch of each row, or over all."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip.losses.pairwise import Targets, mean_logits, wide
from prolip.losses.positives import diagonal, transposed


def triplet(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    margin: float = 0.2,
    negatives: Literal["hardest", "all"] = "hardest",
    positives: Targets | None = None,
) -> Float[Array, ""]:
    """A drawn pair's cosine s_ii is larger by a margin than that of any mismatch.

    1/B sum_i N_j [margin + s_ij - s_ii]_+ + 1/B sum_j N_i [margin + s_ij - s_jj]_+

    N is the maximum over the mismatches of a row or column (VSE++), or their sum (VSE0). What
    matches, or partly matches as a blended image does, is no mismatch; the anchor is the drawn
    pair. Dense: two arrays of [rows of a device, B].

    Args:
      image_means: [B, D], unit length.
      text_means: [B, D], unit length; row j is the pair of image j.
      margin: of cosines.
      negatives: which mismatches count.
      positives: which pairs match, or to which part; row i, column i alone if it is not given.

    Source: VSE++, arXiv 1707.05612, equations 5 and 6, with means over rows for sums.
    """
    by_image = mean_logits(image_means, text_means, 1.0)
    by_text = mean_logits(text_means, image_means, 1.0)
    own = (wide(image_means) * wide(text_means)).sum(-1)
    to_text, to_image = diagonal(by_image), diagonal(by_text)
    if positives is not None:
        to_text, to_image = positives > 0, transposed(positives > 0)
    sides = ((by_image, to_text), (by_text, to_image))
    return sum(
        (_violations(scores, own, matches, margin, negatives) for scores, matches in sides),
        start=jnp.zeros(()),
    )


def _violations(
    scores: jax.Array, own: jax.Array, matches: jax.Array, margin: float, negatives: str
) -> jax.Array:
    hinge = jnp.where(matches, 0, jax.nn.relu(margin + scores - own[:, None]))
    return (hinge.max(1) if negatives == "hardest" else hinge.sum(1)).mean()
