"""CLIP's symmetric softmax loss over the global batch."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip import sharding
from prolip.losses.pairwise import (
    Targets,
    clean_statistics,
    dot,
    match_sums,
    mean_logits,
    wide,
)
from prolip.losses.positives import (
    ColumnFacts,
    Own,
    RowFacts,
    block_matches,
    block_targets,
    diagonal,
    transposed,
)
from prolip.losses.soft_labels import PLAIN, SoftLabels, own_pairs, relabelled
from prolip.losses.streamed import Sums, gather, length, over_batch, pair_sum, scan_chunks


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
        to_text, to_image = positives, transposed(positives)
    return (_cross_entropy(by_image, to_text) + _cross_entropy(by_text, to_image)) / 2


def _cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    log_p = jax.nn.log_softmax(logits, axis=1)
    total = targets.sum(1, keepdims=True)
    share = targets / jnp.where(total, total, 1)
    # `where` keeps -inf of an underflown non-target out of the sum.
    return -jnp.where(targets > 0, log_p * share, 0).sum() / len(logits)


class _Norm(NamedTuple):
    """What a row, or a column, of the logits is normalised by."""

    log_sum: Float[Array, "..."]  # Log of the sum of the exponentials of its logits.
    total: Float[Array, "..."]  # Of its targets.
    plain: Float[Array, "..."] | None = None  # `log_sum` before mismatches weigh less.


class _Side(NamedTuple):
    """What is known of the rows [rows, 1], or of the columns [1, columns], of a block."""

    norm: _Norm | None
    own: Own | None


class _Rows(NamedTuple):
    facts: RowFacts
    norm: _Norm | None


class _Columns(NamedTuple):
    facts: ColumnFacts
    norm: _Norm | None


def streamed_clip(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""],
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels = PLAIN,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`clip` without any array of the size of the pairs; and sums over the matching pairs.

    Two passes: the normalisers of rows and columns, then the loss and its gradients; a third one
    between them where mismatches weigh less. Its targets may be soft.
    """
    rows, columns = wide(image_means), wide(text_means)
    # The gradient through the normalisers is part of the last pass.
    facts, extra = _known(
        *jax.lax.stop_gradient((rows, columns, logit_scale)), row_facts, column_facts, labels
    )
    block = functools.partial(_block, labels=labels, count=len(columns))
    total, statistics = pair_sum(block, rows, columns, logit_scale, *facts)
    return total / (2 * len(rows)), statistics | extra


def image_slope(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""],
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels = PLAIN,
) -> Float[Array, "images texts"]:
    """Slope in its logits of each image's cross-entropy over texts: p_ij - p*_ij; dense."""
    rows, columns = wide(image_means), wide(text_means)
    (known, _), _ = _known(rows, columns, logit_scale, row_facts, column_facts, labels)
    logits = mean_logits(rows, columns, logit_scale)
    targets = _targets(row_facts, sharding.replicate(column_facts)).astype(logits.dtype)
    return _one_way(logits, targets, _by_row(known), labels, len(columns))[1]


def _known(
    rows: jax.Array,
    columns: jax.Array,
    scale: jax.Array,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels,
) -> tuple[tuple[_Rows, _Columns], dict[str, jax.Array]]:
    """The normalisers, and what soft labels need; and what is logged of it."""
    drawn = scale * (rows * columns).sum(-1)
    if labels != PLAIN:
        own = own_pairs(drawn, None, scale, row_facts, column_facts)
        row_facts, column_facts = row_facts._replace(own=own), column_facts._replace(own=own)
    norms = over_batch(
        functools.partial(_norms, labels=labels),
        (True, True, False, True, True),
        (_Norm(True, True), _Norm(True, True)),  # type: ignore[arg-type]
    )
    by_row, by_column = norms(
        rows, columns, scale, _Rows(row_facts, None), _Columns(column_facts, None)
    )
    if labels.lighter:
        plain = by_row.log_sum, by_column.log_sum
        by_row, by_column = norms(
            rows,
            columns,
            scale,
            _Rows(row_facts, by_row._replace(plain=plain[0])),
            _Columns(column_facts, by_column._replace(plain=plain[1])),
        )
        by_row, by_column = by_row._replace(plain=plain[0]), by_column._replace(plain=plain[1])
    extra = {}
    if labels.reweighted:
        losses = (by_row.log_sum + by_column.log_sum) / 2 - drawn
        own = own_pairs(drawn, losses, scale, row_facts, column_facts)
        row_facts, column_facts = row_facts._replace(own=own), column_facts._replace(own=own)
        extra = clean_statistics(own)
    return (_Rows(row_facts, by_row), _Columns(column_facts, by_column)), extra


def _norms(
    rows: jax.Array,
    columns: jax.Array,
    scale: jax.Array,
    row_facts: _Rows,
    column_facts: _Columns,
    axes: Any,
    labels: SoftLabels,
) -> tuple[_Norm, _Norm]:
    num_columns = length(columns)
    if axes is not None:
        columns, column_facts = gather((columns, column_facts), axes)

    def one(
        norm: _Norm | None, columns: jax.Array, facts: _Columns, valid: jax.Array | None
    ) -> tuple[_Norm, _Norm]:
        logits = scale * dot(rows, columns.T)
        targets = _targets(row_facts.facts, facts.facts)
        sums = []
        for axis, side in ((1, _by_row(row_facts)), (0, _by_column(facts))):
            counted, wanted = _soft(logits, targets, side, labels)
            if valid is not None:
                counted = jnp.where(valid[None, :], counted, -jnp.inf)
                wanted = jnp.where(valid[None, :], wanted, 0)
            sums.append(_Norm(jax.nn.logsumexp(counted, axis=axis), wanted.sum(axis)))
        here, by_column = sums
        if norm is not None:
            here = _Norm(jnp.logaddexp(norm.log_sum, here.log_sum), norm.total + here.total)
        return here, by_column

    row_norm, column_norm = scan_chunks(one, len(rows), columns, column_facts)
    if axes is None:
        return row_norm, column_norm
    # Each device has seen its own rows only.
    largest = jax.lax.pmax(column_norm.log_sum, axes)
    share = jnp.exp(column_norm.log_sum - largest)
    total, share = jax.lax.psum((column_norm.total, share), axes)
    start = jax.lax.axis_index(axes) * num_columns
    own = jax.tree.map(
        lambda x: jax.lax.dynamic_slice_in_dim(x, start, num_columns),
        _Norm(largest + jnp.log(share), total),
    )
    return row_norm, own


def _block(
    rows: jax.Array,
    columns: jax.Array,
    scale: jax.Array,
    row_facts: _Rows,
    column_facts: _Columns,
    valid: jax.Array | None,
    labels: SoftLabels,
    count: int,
) -> Sums:
    product = dot(rows, columns.T)
    logits = scale * product
    matches = block_matches(row_facts.facts, column_facts.facts)
    targets = block_targets(row_facts.facts, column_facts.facts, matches).astype(logits.dtype)
    losses = slope = jnp.zeros_like(logits)
    for side in (_by_row(row_facts), _by_column(column_facts)):
        more, steeper = _one_way(logits, targets, side, labels, count)
        losses, slope = losses + more, slope + steeper
    if valid is not None:
        losses, slope = (jnp.where(valid[None, :], x, 0) for x in (losses, slope))
        matches = matches & valid[None, :]
    scaled = scale * slope
    return Sums(
        losses.sum(1).sum(),
        match_sums(product, matches),
        dot(scaled, columns),
        dot(scaled.T, rows),
        (slope * product).sum(1).sum(),
    )


def _soft(
    logits: jax.Array, targets: jax.Array, side: _Side, labels: SoftLabels
) -> tuple[jax.Array, jax.Array]:
    """How pairs count in the normaliser of one direction, as logits; and what they should get."""
    counted = logits
    if labels.lighter and side.norm is not None and side.norm.plain is not None:
        share = jnp.exp(jnp.minimum(logits - side.norm.plain, 0))
        counted = jnp.where(targets > 0, logits, logits + jnp.log1p(-share))
    if labels.relabelled and side.own is not None:
        found = relabelled(logits, targets, side.own.least, side.own.part)
        targets = targets + labels.relabelled * (found - targets)
    return counted, targets


def _one_way(
    logits: jax.Array, targets: jax.Array, side: _Side, labels: SoftLabels, count: int
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of each pair in one direction over `count` others, and its slope.

    Pair by pair: sums over the batch of large numbers would only differ by the loss.
    """
    assert side.norm is not None
    counted, wanted = _soft(logits, targets, side, labels)
    total = side.norm.total
    share = wanted / jnp.where(total > 0, total, 1)
    mass = jnp.where(total > 0, 1, 0).astype(logits.dtype)
    if labels.smoothing:
        share = (1 - labels.smoothing) * share + labels.smoothing / count
        mass = (1 - labels.smoothing) * mass + labels.smoothing
    losses = share * (side.norm.log_sum - logits)
    slope = jnp.where(mass > 0, mass * jnp.exp(counted - side.norm.log_sum), 0) - share
    if side.own is not None and side.own.clean is not None:
        losses, slope = side.own.clean * losses, side.own.clean * slope
    return losses, slope


def _by_row(rows: _Rows) -> _Side:
    return jax.tree.map(lambda x: x[:, None], _Side(rows.norm, rows.facts.own))


def _by_column(columns: _Columns) -> _Side:
    return jax.tree.map(lambda x: x[None, :], _Side(columns.norm, columns.facts.own))


def _targets(rows: RowFacts, columns: ColumnFacts) -> jax.Array:
    return block_targets(rows, columns, block_matches(rows, columns)).astype(jnp.float32)
