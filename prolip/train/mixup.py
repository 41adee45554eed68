"""Blended images: a training image and a part of another one of its batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip.sharding import spec


def mixup(
    images: Float[Array, "batch height width 3"], key: jax.Array, probability: float
) -> tuple[Float[Array, "batch height width 3"], Float[Array, " batch"]]:
    """Image i becomes w x_i + (1 - w) x_(B-1-i), with w uniform in [1/2, 1], or 1 where it stays.

    The image's own part is never the smaller one, so that its caption stays the better one. What a
    blend matches is for the loss: the captions of both, by their parts.

    Args:
      images: of the global batch, normalised.
      key: of this step.
      probability: that an image is blended.

    Returns:
      The images and w.

    Source: mixup, arXiv 1710.09412; for image-text pairs PCME++, arXiv 2305.18171.
    """
    draws = jax.random.uniform(key, (len(images), 2), out_sharding=spec("batch", "dim"))
    weight = jnp.where(draws[:, 0] < probability, 1 - draws[:, 1] / 2, 1.0)
    parts = weight[:, None, None, None]
    return parts * images + (1 - parts) * jnp.flip(images, 0), weight
