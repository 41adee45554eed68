"""Pairwise sigmoid loss on the similarity of sets, and what keeps the slots of a set apart."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prolip import sharding
from prolip.config import SlotsConfig
from prolip.losses.pairwise import Logit, match_sums, wide
from prolip.losses.positives import ColumnFacts, RowFacts, block_matches, block_targets
from prolip.losses.streamed import Block, Sums, pair_sum, scan_chunks
from prolip.slot_similarity import mean_set_similarity


def streamed_sets(
    image_means: Float[Array, "images dim"],
    text_means: Float[Array, "texts dim"],
    slots: SlotsConfig,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """SigLIP with the similarity of sets for the cosine; and sums over the matching pairs.

    -1/B sum_ij log sigmoid(y_ij l_ij), with l_ij = logit_scale set_similarity(i, j) + logit_bias.
    With one slot it is `siglip`, so that slots are the only difference to SigLIP, and to ProLIP
    what variances are. The sources have a triplet loss with the hardest negatives instead, and PVSE
    a discrepancy of the two modalities (MMD) beside it.

    Source: sets, arXiv 1906.04402 and 2211.16761; loss, arXiv 2303.15343.
    """
    means = wide(image_means), wide(text_means)
    total, statistics = pair_sum(_block(slots), *means, logit, row_facts, column_facts)
    return total / len(image_means), statistics


def sets_diversity(mean: Float[Array, "rows dim"], slots: SlotsConfig) -> Float[Array, ""]:
    """Mean squared cosine of two slots of an item: 1 where all are the same, 0 where orthogonal.

    ||S S^T - I||^2 / (K (K - 1)) of the unit slots S. Source: PVSE, arXiv 1906.04402, which takes
    the norm itself, without a gradient at zero, and of what is added to the global feature.
    """
    count = slots.count
    each = sharding.reshape(
        wide(mean), (len(mean), count, mean.shape[1] // count), "batch", "length", "dim"
    )
    cosines = count * jnp.einsum("bkd,bld->bkl", each, each, precision=jax.lax.Precision.HIGHEST)
    others = 1 - jnp.eye(count, dtype=cosines.dtype)
    return (cosines**2 * others[None]).sum() / (len(mean) * max(count * (count - 1), 1))


@functools.lru_cache  # `pair_sum` knows a block by its identity.
def _block(slots: SlotsConfig) -> Block:
    def block(
        rows: jax.Array,
        columns: jax.Array,
        logit: Logit,
        row_facts: RowFacts,
        column_facts: ColumnFacts,
        valid: jax.Array | None,
    ) -> Sums:
        if valid is None:
            valid = jnp.ones(len(columns), bool)

        def one(kept, columns, facts, own_valid):
            facts, valid = facts
            if own_valid is not None:
                valid = valid & own_valid
            (value, statistics), gradients = jax.value_and_grad(_losses, (0, 1, 2), has_aux=True)(
                rows, columns, logit, row_facts, facts, valid, slots
            )
            here = (value, statistics, gradients[0], gradients[2])
            return (here if kept is None else jax.tree.map(jnp.add, kept, here)), gradients[1]

        # The backward pass keeps one array of the size of the pairs for each pair of slots.
        pairs = len(rows) * slots.count**2
        kept, gradients = scan_chunks(one, pairs, columns, (column_facts, valid))
        value, statistics, row_gradients, logit_gradients = kept
        return Sums(value, statistics, row_gradients, gradients, logit_gradients)

    return block


def _losses(
    rows: jax.Array,
    columns: jax.Array,
    logit: Logit,
    row_facts: RowFacts,
    column_facts: ColumnFacts,
    valid: jax.Array,
    slots: SlotsConfig,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    similarity = mean_set_similarity(rows, columns, slots)
    logits = logit.scale * similarity + logit.bias
    matches = block_matches(row_facts, column_facts)
    targets = block_targets(row_facts, column_facts, matches)
    if targets.dtype == bool:
        losses = jax.nn.softplus(jnp.where(targets, -logits, logits))
    else:
        losses = jax.nn.softplus(logits) - targets * logits
    losses = jnp.where(valid[None, :], losses, 0)
    sums = match_sums(similarity, matches & valid[None, :])
    every = jnp.where(valid[None, :], similarity, 0).sum(1).sum()
    return losses.sum(1).sum(), sums | {"every": every}
