"""CLIP's symmetric softmax loss over the global batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip import sharding
from prolip.losses.pairwise import Targets, diagonal, mean_logits


def clip(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""] | float,
    positives: Targets | None = None,
) -> Float[Array, ""]:
    """Mean of the cross-entropies over texts for each image and over images for each text.

    With several positives the target is uniform over them: -1/K sum over positives of log p_j;
    where they match in parts, it is in proportion to the parts.

    Args:
      image_means: [B, D], unit length.
      text_means: [B, D], unit length; row j is the pair of image j.
      logit_scale: the applied scale, not its log.
      positives: which pairs match, or to which part; row i, column i alone if it is not given.

    Source: CLIP, arXiv 2103.00020, figure 3; several positives as in arXiv 2505.19614, section 3.1.
    """
    by_image = mean_logits(image_means, text_means, logit_scale)
    by_text = mean_logits(text_means, image_means, logit_scale)
    to_text, to_image = diagonal(by_image), diagonal(by_text)
    if positives is not None:
        to_text, to_image = positives, _transpose(positives)
    return (_cross_entropy(by_image, to_text) + _cross_entropy(by_text, to_image)) / 2


def _cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    log_p = jax.nn.log_softmax(logits, axis=1)
    total = targets.sum(1, keepdims=True)
    share = targets / jnp.where(total, total, 1)
    # `where` keeps -inf of an underflown non-target out of the sum.
    return -jnp.where(targets > 0, log_p * share, 0).sum() / len(logits)


def _transpose(positives: jax.Array) -> jax.Array:
    """Targets of texts, laid out by text."""
    if sharding.no_mesh():
        return positives.T
    return jax.sharding.reshard(positives.T, sharding.spec("batch", "dim"))
