"""Which pairs of a batch are known to match, from the ids of the captions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from prolip import sharding


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


def diagonal(like: Shaped[Array, "images texts"]) -> Bool[Array, "images texts"]:
    """True where row and column are the same pair, laid out as `like`."""
    rows = jax.lax.broadcasted_iota(jnp.int32, like.shape, 0, out_sharding=sharding.layout_of(like))
    columns = jax.lax.broadcasted_iota(
        jnp.int32, like.shape, 1, out_sharding=sharding.layout_of(like)
    )
    return rows == columns


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


def transposed(positives: Shaped[Array, "images texts"]) -> Shaped[Array, "texts images"]:
    """Matches of texts, laid out by text."""
    if sharding.no_mesh():
        return positives.T
    return jax.sharding.reshard(positives.T, sharding.spec("batch", "dim"))


class Own(NamedTuple):
    """What soft labels need to know of the drawn pair of each row, which is that of its column."""

    least: Float[Array, " pairs"]  # The least logit that counts as at least that of the pair.
    part: Float[Array, " pairs"]  # Label of the pair: less than one where the image is blended.
    clean: Float[Array, " pairs"] | None  # Probability that it is no wrong pair.


class RowFacts(NamedTuple):
    """What tells which texts match the images of some rows."""

    position: Int[Array, " rows"]  # In the global batch.
    captions: Int[Array, "rows known"] | None  # Ids of known captions; None: the drawn pairs alone.
    # Of the images that are blended in; None where no image is blended.
    other_position: Int[Array, " rows"] | None
    other_captions: Int[Array, "rows known"] | None
    weight: Float[Array, " rows"] | None  # Part of each image that is its own.
    own: Own | None = None  # Where labels are soft.


class ColumnFacts(NamedTuple):
    """What tells which images match some texts."""

    position: Int[Array, " columns"]
    caption: Int[Array, " columns"]  # Id of the caption that was drawn.
    own: Own | None = None  # Where labels are soft.


def pair_facts(
    captions: Int[Array, "images known"],
    caption: Int[Array, " texts"],
    *,
    extended: bool,
    weight: Float[Array, " images"] | None = None,
) -> tuple[RowFacts, ColumnFacts]:
    """Facts of a global batch, from which any block of `targets` can be made.

    Args:
      captions: ids of all captions known for each image; 0 pads.
      caption: id of the caption that was drawn for each text.
      extended: whether every known caption is a match, or the drawn pairs alone.
      weight: the part of each image that is its own, the rest being of the image B - 1 - i.
    """
    position = jax.lax.broadcasted_iota(
        jnp.int32, caption.shape, 0, out_sharding=sharding.layout_of(caption)
    )
    known = captions if extended else None
    others: tuple[jax.Array | None, jax.Array | None] = (None, None)
    if weight is not None:
        others = len(position) - 1 - position, None if known is None else jnp.flip(known, 0)
    return RowFacts(position, known, *others, weight), ColumnFacts(position, caption)


def block_matches(rows: RowFacts, columns: ColumnFacts) -> Bool[Array, "rows columns"]:
    """True where a text is known to match an image, as `known_pairs` or `drawn_pairs` say."""
    return _matches(rows.position, rows.captions, columns)


def block_targets(
    rows: RowFacts, columns: ColumnFacts, matches: Bool[Array, "rows columns"]
) -> Bool[Array, "rows columns"] | Float[Array, "rows columns"]:
    """Matches, or as `blended` says the parts of a match where images are blended."""
    if rows.weight is None or rows.other_position is None:
        return matches
    others = _matches(rows.other_position, rows.other_captions, columns)
    own = rows.weight[:, None]
    return own * matches + (1 - own) * others


def drawn_targets(rows: RowFacts, columns: ColumnFacts) -> Float[Array, " pairs"]:
    """The entries of `block_targets` for the drawn pairs, where rows and columns are all pairs."""
    if rows.weight is None or rows.other_position is None:
        return jnp.ones_like(rows.position, jnp.float32)
    # The image that is blended in may match the same caption.
    others = rows.other_position == rows.position
    if rows.other_captions is not None:
        known = rows.other_captions
        others |= ((known == columns.caption[:, None]) & (known != 0)).any(1)
    return rows.weight + (1 - rows.weight) * others


def _matches(
    position: jax.Array, captions: jax.Array | None, columns: ColumnFacts
) -> Bool[Array, "rows columns"]:
    same = position[:, None] == columns.position[None, :]
    if captions is None:
        return same

    def one(same: jax.Array, known: jax.Array) -> tuple[jax.Array, None]:
        match = known[:, None] == columns.caption[None, :]
        return same | (match & (known != 0)[:, None]), None

    matches, _ = jax.lax.scan(one, same, captions.T)
    return matches
