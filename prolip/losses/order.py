"""Which text of a batch is more general, by the images that each of them is known to match."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from prolip import sharding
from prolip.sharding import spec


class Includer(NamedTuple):
    """For each text, the next more general text of the batch."""

    row: Int[Array, " texts"]  # Any number where there is none.
    exists: Bool[Array, " texts"]


def next_includer(positives: Bool[Array, "images texts"]) -> Includer:
    """The least general text that matches every image of a text, and more images than it.

    Text i lies under text j if the images that match i are some of those that match j, all within
    the batch. Of all j above i the one with the fewest matches is taken, the first of equals, so
    that a chain such as name, keyword, subgroup, group is followed link by link.

    Args:
      positives: known matches; every text has one at least.
    """
    count = positives.sum(0)
    matches = positives.astype(jnp.float32)
    # Sums of ones: exact in float32, also where products are made in bfloat16.
    both = jnp.einsum("bi,bj->ij", matches, matches, out_sharding=_by_row())
    above = (both == count[:, None]) & (count[None, :] > count[:, None])
    rank = jnp.where(above, count[None, :], len(count) + 1)
    return Includer(rank.argmin(1), above.any(1))


def _by_row():
    return None if sharding.no_mesh() else spec("batch", "dim")
