"""Known captions of an image that stands in several rows of a batch: those of all its rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from prolip import sharding

LEAST_COLUMNS = 16  # A row for each caption may know one caption, and its image many.


def shared_captions(
    captions: Int[Array, "images known"],
    caption: Int[Array, " texts"],
    image: Int[Array, "images 2"],
) -> Int[Array, "images shared"]:
    """Returns the known captions of each row together with those of all rows of the same image.

    Where no image repeats they are returned as they are, padded to `LEAST_COLUMNS`. Where one does,
    only those are that were drawn for another image: a caption that was drawn for the image itself
    matches by the image, and one that was not drawn is compared with nothing. If an image has more
    of them than there are columns, the rest is dropped.

    Args:
      captions: ids of all captions known for each row; 0 pads.
      caption: id of the caption that was drawn for each row.
      image: id of each row's image, in two words.
    """
    # A few numbers a row: every device does the same work instead of exchanging parts of it.
    known, drawn, ids = sharding.replicate((captions, caption, image))
    known = jnp.pad(known, ((0, 0), (0, max(0, LEAST_COLUMNS - known.shape[1]))))
    group = _numbered(ids)
    repeated = group.max() + 1 < len(group)
    shared = jax.lax.cond(repeated, _union, lambda known, *_: known, known, drawn, group)
    layout = sharding.layout_of(captions)
    return shared if layout is None else jax.sharding.reshard(shared, layout)


def _numbered(ids: Int[Array, "rows 2"]) -> Int[Array, " rows"]:
    """Numbers from 0 without gaps, equal where the ids are."""
    order = jnp.lexsort((ids[:, 1], ids[:, 0]))
    ordered = ids[order]
    new = jnp.concatenate([jnp.zeros(1, bool), (ordered[1:] != ordered[:-1]).any(1)])
    return jnp.zeros(len(ids), jnp.int32).at[order].set(jnp.cumsum(new, dtype=jnp.int32))


def _union(known: jax.Array, drawn: jax.Array, group: jax.Array) -> jax.Array:
    rows, columns = known.shape
    drawn, drawer = jax.lax.sort((drawn, group), num_keys=2)
    first, end = (jnp.searchsorted(drawn, known, side) for side in ("left", "right"))
    # The least and the largest number among the images that a known caption was drawn for.
    least, most = (drawer[jnp.clip(at, 0, rows - 1)] for at in (first, end - 1))
    own = group[:, None]
    compared = (first < end) & ((least != own) | (most != own))
    owner, caption = jax.lax.sort(
        (jnp.repeat(group, columns), jnp.where(compared, known, 0).ravel()), num_keys=2
    )
    begins = jnp.concatenate([jnp.ones(1, bool), owner[1:] != owner[:-1]])
    differs = jnp.concatenate([jnp.ones(1, bool), caption[1:] != caption[:-1]])
    new = (begins | differs) & (caption != 0)
    count = jnp.cumsum(new)
    before = jax.lax.cummax(jnp.where(begins, count - new, 0))
    column = count - before - 1
    table = jnp.zeros_like(known).at[jnp.where(new, owner, rows), column].set(caption, mode="drop")
    return table[group]
