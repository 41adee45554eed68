"""Sigmoid losses over all image-text pairs of the global batch: PPCL and SigLIP."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from prolip import gaussian, sharding
from prolip.gaussian import Gaussian
from prolip.losses.positives import (
    ColumnFacts,
    Own,
    RowFacts,
    block_matches,
    block_targets,
    diagonal,
)
from prolip.losses.soft_labels import PLAIN, SoftLabels, own_pairs, sigmoid_pairs
from prolip.losses.streamed import Sums, pair_sum

Targets = Bool[Array, "images texts"] | Float[Array, "images texts"]


def ppcl(
    images: Gaussian,
    texts: Gaussian,
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
    positives: Targets | None = None,
) -> Float[Array, ""]:
    """Probabilistic pairwise contrastive loss.

    -1/B sum_ij log sigmoid(y_ij l_ij), with
    l_ij = logit_scale (m_i . m_j - (tr_i + tr_j) / 2) + logit_bias

    Args:
      images: B Gaussians, shape [B, D].
      texts: B Gaussians; row j is the pair of image j.
      logit_scale: the applied scale, not its log.
      logit_bias: added to every logit.
      positives: which pairs match, or to which part; row i, column i alone if it is not given.
        The loss of a part y is -y log sigmoid(l) - (1 - y) log sigmoid(-l).

    Source: ProLIP, arXiv 2410.18857, section 3.2. Differs from naver-ai/prolip `src/prolip/loss.py`
    in nothing on one process; over several the released ring exchange is not this sum.
    """
    return sigmoid_loss(ppcl_logits(images, texts, logit_scale, logit_bias), positives)


def ppcl_logits(
    images: Gaussian,
    texts: Gaussian,
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
) -> Float[Array, "images texts"]:
    """Logits of all pairs: logit_scale (1 - csd / 2) + logit_bias for unit means."""
    texts = sharding.replicate(texts)
    score = gaussian.similarity(images, texts) - images.uncertainty[:, None] / 2
    return logit_scale * score + logit_bias


def siglip(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""] | float,
    logit_bias: Float[Array, ""] | float,
    positives: Targets | None = None,
) -> Float[Array, ""]:
    """Pairwise sigmoid loss on the means alone: -1/B sum_ij log sigmoid(y_ij l_ij).

    Source: SigLIP, arXiv 2303.15343, equation 1. Arguments as for `ppcl`.
    """
    return sigmoid_loss(mean_logits(image_means, text_means, logit_scale) + logit_bias, positives)


def mean_logits(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit_scale: Float[Array, ""] | float,
) -> Float[Array, "images texts"]:
    """logit_scale times the cosine of all pairs of unit means; images stay where they are."""
    texts = sharding.replicate(text_means)
    return logit_scale * dot(wide(image_means), wide(texts).T)


def sigmoid_loss(
    logits: Float[Array, "images texts"], positives: Targets | None
) -> Float[Array, ""]:
    """Binary cross-entropy of all pairs, summed over texts and averaged over images."""
    logits = wide(logits)
    if positives is None:
        positives = diagonal(logits)
    if positives.dtype == bool:
        log_p = jax.nn.log_sigmoid(jnp.where(positives, logits, -logits))
    else:
        yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
        log_p = positives * yes + (1 - positives) * no
    return -log_p.sum() / len(logits)


class Side(NamedTuple):
    """Images or texts as the logits see them."""

    mean: Float[Array, "rows dim"]
    trace: Float[Array, " rows"]  # Of the covariance.


class Logit(NamedTuple):
    """The scalars of the logit."""

    scale: Float[Array, ""]
    bias: Float[Array, ""]


def streamed_ppcl(
    images: Gaussian,
    texts: Gaussian,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels = PLAIN,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`ppcl` without any array of the size of the pairs; and sums over the matching pairs.

    Its targets may be soft.
    """
    rows, columns = (Side(wide(g.mean), g.uncertainty) for g in (images, texts))
    return _streamed(rows, columns, logit, row_facts, column_facts, labels)


def streamed_siglip(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels = PLAIN,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`siglip` without any array of the size of the pairs; and sums over the matching pairs.

    Its targets may be soft.
    """
    rows, columns = point_side(image_means), point_side(text_means)
    return _streamed(rows, columns, logit, row_facts, column_facts, labels)


def _streamed(
    rows: Side,
    columns: Side,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    if labels == PLAIN:
        block, extra = _block, {}
    else:
        block = functools.partial(_block, labels=labels)
        own = _own(rows, columns, logit, row_facts, column_facts, labels)
        row_facts, column_facts = row_facts._replace(own=own), column_facts._replace(own=own)
        extra = clean_statistics(own)
    total, statistics = pair_sum(block, rows, columns, logit, row_facts, column_facts)
    return total / len(rows.mean), statistics | extra


def point_side(means: Float[Array, "rows dim"]) -> Side:
    """Points: no variance."""
    mean = wide(means)
    return Side(mean, jnp.zeros_like(mean[:, 0]))


def sigmoid_slope(
    rows: Side,
    columns: Side,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels = PLAIN,
) -> Float[Array, "images texts"]:
    """Slope of each pair's cross-entropy in its logit: sigmoid(l_ij) - t_ij; dense."""
    own = _own(rows, columns, logit, row_facts, column_facts, labels)
    row_facts, column_facts = row_facts._replace(own=own), column_facts._replace(own=own)
    columns, column_facts = sharding.replicate((columns, column_facts))
    logits = _logits(dot(rows.mean, columns.mean.T), rows, columns, logit)[1]
    targets = block_targets(row_facts, column_facts, block_matches(row_facts, column_facts))
    return sigmoid_pairs(logits, targets.astype(logits.dtype), row_facts, column_facts, labels)[1]


def _own(
    rows: Side,
    columns: Side,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    labels: SoftLabels,
) -> Own:
    score = (rows.mean * columns.mean).sum(-1) - (rows.trace + columns.trace) / 2
    logits = logit.scale * score + logit.bias
    losses = -jax.nn.log_sigmoid(logits) if labels.reweighted else None
    return own_pairs(logits, losses, logit.scale, row_facts, column_facts)


def _logits(
    product: jax.Array, rows: Side, columns: Side, logit: Logit
) -> tuple[jax.Array, jax.Array]:
    """Scores of pairs, and their logits."""
    score = product - (rows.trace[:, None] + columns.trace[None, :]) / 2
    return score, logit.scale * score + logit.bias


def clean_statistics(own: Own) -> dict[str, jax.Array]:
    """Mean probability that a drawn pair is right, where it is asked for."""
    return {} if own.clean is None else {"clean": own.clean.mean()}


def _block(
    rows: Side,
    columns: Side,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    valid: jax.Array | None,
    labels: SoftLabels = PLAIN,
) -> Sums:
    product = dot(rows.mean, columns.mean.T)
    score, logits = _logits(product, rows, columns, logit)
    matches = block_matches(row_facts, column_facts)
    targets = block_targets(row_facts, column_facts, matches)
    if labels != PLAIN:
        targets = targets.astype(logits.dtype)
        losses, slope = sigmoid_pairs(logits, targets, row_facts, column_facts, labels)
    elif targets.dtype == bool:
        # By the logit of being right: a small loss of a match is no difference of large numbers.
        signed = jnp.where(targets, -logits, logits)
        losses, slope = _softplus(signed)
        slope = jnp.where(targets, -slope, slope)
    else:
        losses, slope = _softplus(logits)
        losses, slope = losses - targets * logits, slope - targets
    if valid is not None:
        losses, slope = (jnp.where(valid[None, :], x, 0) for x in (losses, slope))
        matches = matches & valid[None, :]
    scaled = logit.scale * slope
    return Sums(
        # Row by row first: one running sum over all pairs would lose digits.
        losses.sum(1).sum(),
        match_sums(product, matches),
        Side(dot(scaled, columns.mean), -scaled.sum(1) / 2),
        Side(dot(scaled.T, rows.mean), -scaled.sum(0) / 2),
        Logit((slope * score).sum(1).sum(), slope.sum(1).sum()),
    )


def dense_targets(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    row_facts: RowFacts,
    column_facts: ColumnFacts,
) -> tuple[Targets, dict[str, jax.Array]]:
    """Targets of all pairs at once, laid out by image; and sums over the matching pairs."""
    column_facts = sharding.replicate(column_facts)
    matches = block_matches(row_facts, column_facts)
    product = jax.lax.stop_gradient(mean_logits(image_means, text_means, 1.0))
    return block_targets(row_facts, column_facts, matches), match_sums(product, matches)


def match_sums(product: jax.Array, matches: jax.Array) -> dict[str, jax.Array]:
    """Number of matching pairs of a block, and sum of their products of means."""
    return {
        "matches": matches.sum(1, dtype=jnp.float32).sum(),
        "product": jnp.where(matches, product, 0).sum(1).sum(),
    }


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """A product in full float32, also where the hardware would round to bfloat16."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def wide(x: jax.Array) -> jax.Array:
    """At least float32."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _softplus(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log(1 + e^x) and its slope, by one exponential."""
    small = jnp.exp(-jnp.abs(x))
    return jnp.maximum(x, 0) + jnp.log1p(small), jnp.where(x > 0, 1, small) / (1 + small)
