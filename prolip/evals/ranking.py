"""Rankings of a gallery on the local devices, a block of queries at a time.

A block is split over the devices by its rows; the gallery is on each of them. Only the heads of
rankings come back to the host, never scores of all pairs. Scores are float32. Gallery items that
are equal to the bit get the same score whatever the order of summation, so that the rule for ties,
the lower index first, decides between them.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from prolip import sharding
from prolip.config import MeshConfig, SlotsConfig
from prolip.evals.context import ONE_SLOT
from prolip.evals.csd import terms
from prolip.evals.metrics import blocks
from prolip.gaussian import Gaussian
from prolip.slot_similarity import mean_set_similarity

ROWS = PartitionSpec(("data", "fsdp", "tensor"))
EVERYWHERE = PartitionSpec()
NOBODY = -1  # Fills up lists of positives.


class Ranked(NamedTuple):
    """A block of queries, best targets first."""

    rows: slice  # Of the queries.
    order: np.ndarray  # Int[rows length], target indices.
    best_rank: np.ndarray  # Int[rows], of the best positive, 1 for the first; 0 if there is none.
    best_score: np.ndarray  # Float32[rows], of the first target; comparable between queries.


def ranked_blocks(
    queries: Gaussian,
    gallery: Gaussian,
    positives: Sequence[np.ndarray],
    *,
    at_least: int = 1,
    mean_only: bool = False,
    block: int = 1024,
    slots: SlotsConfig = ONE_SLOT,
) -> Iterator[Ranked]:
    """Ranks by CSD: for unit means, by mean product minus half of the target's trace.

    Sets of several slots are ranked by `prolip.set_similarity` in the place of the product.

    Args:
      queries: N Gaussians; their variances don't matter for their own rankings.
      gallery: M Gaussians.
      positives: for each query its targets; those outside of the gallery are passed over.
      at_least: targets of each ranking, if the gallery has as many; there are as many as the
        positives of any query of the block in any case.
      mean_only: leaves out the variances.
      block: queries at a time; device memory is about two blocks of scores, and with several slots
        three for each.
      slots: of a model with sets.
    """
    count, size = len(queries.mean), len(gallery.mean)
    mesh = sharding.make_mesh(MeshConfig(), jax.local_devices())
    # Equal shapes for all blocks, so that one program serves them.
    block = -(-min(block, max(count, 1)) // mesh.size) * mesh.size
    asked, items, half, asked_half = terms(queries, gallery, mean_only, slots)
    mean = np.asarray(items, np.float32)
    same = _first_equal(mean, half)
    everywhere = jax.device_put(
        (mean, half.astype(np.float32), same), NamedSharding(mesh, EVERYWHERE)
    )
    for rows in blocks(count, block):
        targets = positives[rows]
        most = max(len(row) for row in targets)
        length = min(size, _round_up(max(at_least, most)))
        own = _filled(targets, block, _round_up(most), size)
        query = np.zeros((block, mean.shape[1]), np.float32)
        query[: len(targets)] = asked[rows]
        with jax.set_mesh(mesh):  # The caller's may be of other devices.
            split = jax.device_put((query, own), NamedSharding(mesh, ROWS))
            found = _ranker(mesh, length, slots)(*split, *everywhere)
        order, best_rank, best_score = (np.asarray(array)[: len(targets)] for array in found)
        yield Ranked(rows, order, best_rank, best_score - asked_half[rows].astype(np.float32))


@functools.lru_cache(maxsize=32)
def _ranker(mesh: Mesh, length: int, slots: SlotsConfig):
    def rank(query, own, mean, half, same):
        scores = mean_set_similarity(query, mean, slots)
        scores = scores - half[None, :]
        if same is not None:
            scores = scores[:, same]
        # One zero: top_k may put the positive one first.
        scores = jnp.where(scores == 0, jnp.zeros_like(scores), scores)
        # Not its values too: a slice of them turns it into a sort on CPUs, forty times slower.
        _, order = jax.lax.top_k(scores, length)
        known = own >= 0
        values = jnp.take_along_axis(scores, jnp.maximum(own, 0), axis=1)
        best = jnp.where(known, values, -jnp.inf).max(1, keepdims=True)
        column = jnp.arange(scores.shape[1], dtype=own.dtype)[None, :]
        first = jnp.where(known & (values == best), own, scores.shape[1]).min(1, keepdims=True)
        before = (scores > best) | ((scores == best) & (column < first))
        return order, jnp.where(known.any(1), 1 + before.sum(1), 0), scores.max(1)

    specs = (ROWS, ROWS, EVERYWHERE, EVERYWHERE, EVERYWHERE)
    return jax.jit(jax.shard_map(rank, mesh=mesh, in_specs=specs, out_specs=ROWS))


def _first_equal(mean: np.ndarray, half: np.ndarray) -> np.ndarray | None:
    """Int[targets]: the first target that is equal to the bit; None if all are different."""
    table = np.concatenate([mean, half[:, None].astype(np.float32)], axis=1) + 0.0
    rows = np.ascontiguousarray(table).view(np.dtype((np.void, table.strides[0]))).ravel()
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    return None if len(first) == len(rows) else first[which].astype(np.int32)


def _filled(targets: Sequence[np.ndarray], rows: int, width: int, size: int) -> np.ndarray:
    """Int32[rows width]: the targets of each query that are below `size`, filled up."""
    counts = np.zeros(rows, np.int64)
    counts[: len(targets)] = [len(row) for row in targets]
    flat = np.concatenate([np.asarray(row, np.int64) for row in targets])
    result = np.full((rows, width), NOBODY, np.int32)
    result[np.arange(width) < counts[:, None]] = np.where(flat < size, flat, NOBODY)
    return result


def _round_up(count: int) -> int:
    """The next power of two: few programs serve blocks of many lengths."""
    return 1 << max(0, count - 1).bit_length()
