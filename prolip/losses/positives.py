"""Which pairs of a batch are known to match, from the ids of the captions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from prolip import sharding
from prolip.losses.pairwise import diagonal


def known_pairs(
    captions: Int[Array, "images known"], caption: Int[Array, " texts"]
) -> Bool[Array, "images texts"]:
    """True where text j is one of the captions that are valid for image i, and for i = j.

    Args:
      captions: ids of all captions known for each image; 0 pads.
      caption: id of the caption that was drawn for each text; 0 matches nothing.
    """
    caption = sharding.replicate(caption)

    def one(row, known):  # One known caption of every image at a time: never [B, B, known].
        return row | ((known[:, None] == caption[None, :]) & (known != 0)[:, None]), None

    # The first column gives the layout of the carry.
    first, _ = one(captions[:, :1] != captions[:, :1], captions[:, 0])
    matches, _ = jax.lax.scan(one, first, jnp.moveaxis(captions[:, 1:], 1, 0))
    return matches | diagonal(matches)


def drawn_pairs(caption: Int[Array, " texts"]) -> Bool[Array, "images texts"]:
    """True for the drawn pairs alone."""
    return diagonal(caption[:, None] == sharding.replicate(caption)[None, :])


def blended(
    positives: Bool[Array, "images texts"], weight: Float[Array, " images"]
) -> Float[Array, "images texts"]:
    """Matches of blended images: of image i by its weight, of image B - 1 - i by the rest.

    Source: mixup, arXiv 1710.09412; for image-text pairs PCME++, arXiv 2305.18171.
    """
    own = positives.astype(weight.dtype)
    return weight[:, None] * own + (1 - weight[:, None]) * jnp.flip(own, 0)
