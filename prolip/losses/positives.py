"""Which pairs of a batch are known to match, from the ids of their captions and images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from prolip import sharding


def known_pairs(
    captions: Int[Array, "images known"],
    caption: Int[Array, " texts"],
    image: Int[Array, "images 2"] | None = None,
) -> Bool[Array, "images texts"]:
    """True where text j is a known caption of image i, or was drawn for a row of the same image.

    Args:
      captions: ids of all captions known for each image; 0 pads.
      caption: id of the caption that was drawn for each text; 0 matches nothing.
      image: id of each row's image, in two words; without it a row's image is its own.
    """
    caption = sharding.replicate(caption)

    def one(row, known):  # One known caption of every image at a time: never [B, B, known].
        return row | ((known[:, None] == caption[None, :]) & (known != 0)[:, None]), None

    # The first column gives the layout of the carry.
    first, _ = one(captions[:, :1] != captions[:, :1], captions[:, 0])
    matches, _ = jax.lax.scan(one, first, jnp.moveaxis(captions[:, 1:], 1, 0))
    if image is not None:
        matches |= _same_image(image, sharding.replicate(image))
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
    image: Int[Array, "rows 2"] | None = None  # Id of the image; None: the row alone is of it.
    other_image: Int[Array, "rows 2"] | None = None


class ColumnFacts(NamedTuple):
    """What tells which images match some texts."""

    position: Int[Array, " columns"]
    caption: Int[Array, " columns"]  # Id of the caption that was drawn.
    own: Own | None = None  # Where labels are soft.
    image: Int[Array, "columns 2"] | None = None  # Id of the image that it was drawn for.


def pair_facts(
    captions: Int[Array, "images known"],
    caption: Int[Array, " texts"],
    *,
    extended: bool,
    weight: Float[Array, " images"] | None = None,
    image: Int[Array, "images 2"] | None = None,
) -> tuple[RowFacts, ColumnFacts]:
    """Facts of a global batch, from which any block of `targets` can be made.

    Args:
      captions: ids of all captions known for each image; 0 pads.
      caption: id of the caption that was drawn for each text.
      extended: whether every known caption is a match, or the drawn pairs alone.
      weight: the part of each image that is its own, the rest being of the image B - 1 - i.
      image: id of each row's image, in two words; without it a row's image is its own.
    """
    position = jax.lax.broadcasted_iota(
        jnp.int32, caption.shape, 0, out_sharding=sharding.layout_of(caption)
    )
    known, ids = (captions, image) if extended else (None, None)
    rows = RowFacts(position, known, None, None, weight, image=ids)
    if weight is not None:
        rows = rows._replace(
            other_position=len(position) - 1 - position,
            other_captions=None if known is None else jnp.flip(known, 0),
            other_image=None if ids is None else jnp.flip(ids, 0),
        )
    return rows, ColumnFacts(position, caption, image=ids)


def block_matches(rows: RowFacts, columns: ColumnFacts) -> Bool[Array, "rows columns"]:
    """True where a text is known to match an image, as `known_pairs` or `drawn_pairs` say."""
    return _matches(rows.position, rows.captions, rows.image, columns)


def block_targets(
    rows: RowFacts, columns: ColumnFacts, matches: Bool[Array, "rows columns"]
) -> Bool[Array, "rows columns"] | Float[Array, "rows columns"]:
    """Matches, or as `blended` says the parts of a match where images are blended."""
    if rows.weight is None or rows.other_position is None:
        return matches
    others = _matches(rows.other_position, rows.other_captions, rows.other_image, columns)
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
    if rows.other_image is not None and columns.image is not None:
        others |= (rows.other_image == columns.image).all(1)
    return rows.weight + (1 - rows.weight) * others


def _matches(
    position: jax.Array,
    captions: jax.Array | None,
    image: jax.Array | None,
    columns: ColumnFacts,
) -> Bool[Array, "rows columns"]:
    same = position[:, None] == columns.position[None, :]
    if image is not None and columns.image is not None:
        same |= _same_image(image, columns.image)
    if captions is None:
        return same

    def one(same: jax.Array, known: jax.Array) -> tuple[jax.Array, None]:
        match = known[:, None] == columns.caption[None, :]
        return same | (match & (known != 0)[:, None]), None

    matches, _ = jax.lax.scan(one, same, captions.T)
    return matches


def _same_image(
    rows: Int[Array, "rows 2"], columns: Int[Array, "columns 2"]
) -> Bool[Array, "rows columns"]:
    """One word after the other: never [rows, columns, 2]."""
    first, second = (rows[:, None, word] == columns[None, :, word] for word in (0, 1))
    return first & second
