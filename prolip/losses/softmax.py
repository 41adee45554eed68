"""CLIP's symmetric softmax loss over the global batch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip import sharding
from prolip.losses.pairwise import Targets, dot, match_sums, mean_logits, wide
from prolip.losses.positives import (
    ColumnFacts,
    RowFacts,
    block_matches,
    block_targets,
    diagonal,
)
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


class _Norm(NamedTuple):
    """What a row, or a column, of the logits is normalised by."""

    log_sum: Float[Array, " rows"]  # Log of the sum of the exponentials of its logits.
    total: Float[Array, " rows"]  # Of its targets.


class _Rows(NamedTuple):
    facts: RowFacts
    norm: _Norm


class _Columns(NamedTuple):
    facts: ColumnFacts
    norm: _Norm


def streamed_clip(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""],
    row_facts: RowFacts,
    column_facts: ColumnFacts,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`clip` without any array of the size of the pairs; and sums over the matching pairs.

    Two passes: the normalisers of rows and columns, then the loss and its gradients.
    """
    rows, columns = wide(image_means), wide(text_means)
    norms = over_batch(
        _norms,
        (True, True, False, True, True),
        (_Norm(True, True), _Norm(True, True)),  # type: ignore[arg-type]
    )
    # The gradient through the normalisers is part of the second pass.
    row_norm, column_norm = norms(
        *jax.lax.stop_gradient((rows, columns, logit_scale)), row_facts, column_facts
    )
    total, statistics = pair_sum(
        _block,
        rows,
        columns,
        logit_scale,
        _Rows(row_facts, row_norm),
        _Columns(column_facts, column_norm),
    )
    return total / (2 * len(rows)), statistics


def _norms(
    rows: jax.Array,
    columns: jax.Array,
    scale: jax.Array,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    axes: Any,
) -> tuple[_Norm, _Norm]:
    num_columns = length(columns)
    if axes is not None:
        columns, column_facts = gather((columns, column_facts), axes)

    def one(
        norm: _Norm | None, columns: jax.Array, facts: ColumnFacts, valid: jax.Array | None
    ) -> tuple[_Norm, _Norm]:
        logits = scale * dot(rows, columns.T)
        targets = _targets(row_facts, facts)
        if valid is not None:
            logits = jnp.where(valid[None, :], logits, -jnp.inf)
            targets = jnp.where(valid[None, :], targets, 0)
        here = _Norm(jax.nn.logsumexp(logits, axis=1), targets.sum(1))
        if norm is not None:
            here = _Norm(jnp.logaddexp(norm.log_sum, here.log_sum), norm.total + here.total)
        return here, _Norm(jax.nn.logsumexp(logits, axis=0), targets.sum(0))

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
) -> Sums:
    product = dot(rows, columns.T)
    logits = scale * product
    matches = block_matches(row_facts.facts, column_facts.facts)
    targets = block_targets(row_facts.facts, column_facts.facts, matches).astype(logits.dtype)
    losses = slope = jnp.zeros_like(logits)
    by_row = (row_facts.norm.log_sum[:, None], row_facts.norm.total[:, None])
    by_column = (column_facts.norm.log_sum[None, :], column_facts.norm.total[None, :])
    for log_sum, total in (by_row, by_column):
        share = targets / jnp.where(total > 0, total, 1)
        # Pair by pair: sums over the batch of large numbers would only differ by the loss.
        losses = losses + share * (log_sum - logits)
        slope = slope + jnp.where(total > 0, jnp.exp(logits - log_sum), 0) - share
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


def _targets(rows: RowFacts, columns: ColumnFacts) -> jax.Array:
    return block_targets(rows, columns, block_matches(rows, columns)).astype(jnp.float32)
