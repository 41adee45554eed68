"""Targets of pairs that are neither yes nor no: smoothed, doubted, or found by the model itself.

All but `own_pairs` is of one block of pairs, so that losses in blocks stay in blocks. What a model
says of its own targets carries no gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip.config_objective import ObjectiveConfig
from prolip.losses.noisy_pairs import clean_probability
from prolip.losses.positives import ColumnFacts, Own, RowFacts, drawn_targets

TIE = 1e-5  # Of a score: texts of the same caption tie, and rounding must not decide.


class SoftLabels(NamedTuple):
    """What is done to targets; part of the program, not of the data."""

    # e: a target t becomes (1 - e) t + e / 2 in a sigmoid loss, whose classes are two, and
    # (1 - e) t + e / B in a softmax over B (arXiv 1512.00567, section 7). PCME++ has e = 2e-4 in
    # this count (naver-ai/pcmepp `pcmepp/augmentation.py`), MAFA 1/2.
    smoothing: float = 0.0
    # The part of a target that is made anew: a pair that scores at least what the drawn pair of
    # its row does gets the label of the drawn pair, and so by columns. A softmax takes those of
    # its own direction; a sigmoid loss the mean of both, as PCME++'s pseudo-positives do (arXiv
    # 2305.18171). MAFA (arXiv 2312.06112) asks a second model, about the best mismatch alone.
    relabelled: float = 0.0
    # Whether a mismatch of probability p weighs 1 - p. For a sigmoid loss the gradient is then that
    # of p itself in the place of -log(1 - p): the generalised cross-entropy with q = 1 (arXiv
    # 1805.07836), which holds against wrong labels. In a softmax, its share of the sum does.
    lighter: bool = False
    # Whether a drawn pair weighs the probability that it is right: `clean_probability`. That is the
    # gradient of NCR's label c + (1 - c) p, with p the present probability.
    reweighted: bool = False


PLAIN = SoftLabels()


def soft_labels(config: ObjectiveConfig) -> SoftLabels:
    """What the configuration asks for."""
    return SoftLabels(
        config.label_smoothing,
        float(config.false_negatives == "relabel"),
        config.false_negatives == "weight",
        config.noisy_pairs == "reweight",
    )


def own_pairs(
    logits: Float[Array, " pairs"],
    losses: Float[Array, " pairs"] | None,
    scale: Float[Array, ""],
    rows: RowFacts,
    columns: ColumnFacts,
) -> Own:
    """What blocks have to know of the drawn pairs.

    Args:
      logits: of the drawn pairs.
      losses: of the drawn pairs, where it is asked which of them are right.
      scale: of the logits.
      rows: facts of all images.
      columns: facts of all texts.
    """
    logits, scale = jax.lax.stop_gradient((logits, scale))
    clean = None if losses is None else clean_probability(losses)
    return Own(logits - TIE * scale, drawn_targets(rows, columns), clean)


def relabelled(
    logits: Float[Array, "rows columns"],
    targets: Float[Array, "rows columns"],
    least: Float[Array, "..."],
    part: Float[Array, "..."],
) -> Float[Array, "rows columns"]:
    """Targets, and `part` for pairs with a logit of at least `least`, of their row or column."""
    return jnp.maximum(targets, jnp.where(logits >= least, part, 0))


def sigmoid_pairs(
    logits: Float[Array, "rows columns"],
    targets: Float[Array, "rows columns"],
    rows: RowFacts,
    columns: ColumnFacts,
    labels: SoftLabels,
) -> tuple[Float[Array, "rows columns"], Float[Array, "rows columns"]]:
    """Binary cross-entropy of each pair, and its slope in the logit."""
    weight = jnp.where(targets > 0, 1, jax.nn.sigmoid(-logits)) if labels.lighter else None
    if labels.relabelled and rows.own and columns.own:
        by_row = relabelled(logits, targets, rows.own.least[:, None], rows.own.part[:, None])
        by_column = relabelled(
            logits, targets, columns.own.least[None, :], columns.own.part[None, :]
        )
        found = (by_row + by_column) / 2
        targets = targets + labels.relabelled * (found - targets)
    targets = (1 - labels.smoothing) * targets + labels.smoothing / 2
    losses = jnp.maximum(logits, 0) + jnp.log1p(jnp.exp(-jnp.abs(logits))) - targets * logits
    slope = jax.nn.sigmoid(logits) - targets
    if labels.reweighted and rows.own is not None and rows.own.clean is not None:
        drawn = rows.position[:, None] == columns.position[None, :]
        clean = jnp.where(drawn, rows.own.clean[:, None], 1)
        weight = clean if weight is None else weight * clean
    return (losses, slope) if weight is None else (weight * losses, weight * slope)
