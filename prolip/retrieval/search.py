"""Exact search: the best rows of each query, from a collection that is read a block at a time.

Memory is a few blocks, however large the collection; a thread reads the next block while the
devices work on those before it.
"""

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from prolip.gaussian import Gaussian
from prolip.retrieval.rankings import By, bounds, exact
from prolip.retrieval.vectors import Block, Vectors

BLOCK_BYTES = 64 * 2**20
QUERIES = 512  # In one pass over the collection; the scores of a block are [QUERIES rows].
PAIR_NUMBERS = 2**20  # That are widened to float64 at a time.


class Best(NamedTuple):
    """The best rows of each query, best first; equal scores by the lower row."""

    row: np.ndarray  # Int64[queries k]; -1 after the last hit.
    score: np.ndarray  # Float64[queries k]; minus infinity after the last hit.


def exact_search(
    vectors: Vectors,
    queries: Gaussian,
    k: int,
    by: By,
    *,
    keep: np.ndarray | None = None,
    max_uncertainty: float = float("inf"),
    block_rows: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Best:
    """The best rows of a collection, as brute force in float64 finds them.

    Args:
      vectors: the collection.
      queries: NumPy float32 [queries dim].
      k: hits of a query; fewer where fewer rows pass.
      by: what they are ranked by.
      keep: boolean [rows]; other rows are left out before the ranking.
      max_uncertainty: rows above it are left out too.
      block_rows: rows read at a time; by default about 64 MiB of them. No result depends on it.
      devices: that share the blocks; by default all of this process.
    """
    best = Best(
        np.full((len(queries.mean), min(k, vectors.count)), -1, np.int64),
        np.full((len(queries.mean), min(k, vectors.count)), -np.inf),
    )
    rows = block_rows or _block_rows(vectors)
    devices = devices or jax.local_devices()
    for start in range(0, len(queries.mean) if best.row.shape[1] else 0, QUERIES):
        some = slice(start, start + QUERIES)
        search = _Pass(by, Gaussian(*(x[some] for x in queries)), best.row.shape[1], devices)
        # One buffer is read into, one waits, and each device works on one.
        stream = _stream(vectors, rows, buffers=len(devices) + 2)
        for first, block, number in stream:
            out = np.ones(rows, bool)  # Also what lies behind the last row.
            out[:number] = block.uncertainty[:number] > np.float64(max_uncertainty)
            if keep is not None:
                out[:number] |= ~keep[first : first + number]
            search.start(first, block, out)
        search.finish(keep_running=0)
        best.row[some], best.score[some] = search.best
    return best


class _Running(NamedTuple):
    first: int  # Row of the collection that the block begins with.
    block: Block
    found: "_Found"


class _Pass:
    """Some queries on their way through the collection, one block after the other."""

    def __init__(self, by: By, queries: Gaussian, k: int, devices: Sequence[jax.Device]):
        self._queries, self._by, self._k, self._devices = queries, by, k, devices
        shape = (len(queries.mean), k)
        self.best = Best(np.full(shape, -1, np.int64), np.full(shape, -np.inf))
        # Eight sizes between two powers of two: few compilations, and little work for nothing.
        step = max(1, (1 << (len(queries.mean) - 1).bit_length()) // 16)
        padded = -(-len(queries.mean) // step) * step
        mean: Any = queries.mean
        full = np.concatenate([mean, np.zeros((padded - len(mean), mean.shape[1]), np.float32)])
        self._asked = [jax.device_put(full, device) for device in devices]
        self._running: deque[_Running] = deque()
        self._started = 0

    def start(self, first: int, block: Block, out: np.ndarray) -> None:
        """Sends a block to the next device, and waits for the oldest one if all are busy."""
        device = self._started % len(self._devices)
        self._started += 1
        on_device = jax.device_put((*block, out), self._devices[device])
        # The few more than k are room for rows that float32 can't tell from the k-th.
        width = min(self._k + self._k // 8 + 16, len(out))
        # The caller's mesh, if any, has other devices than this block is on.
        with jax.set_mesh(jax.make_mesh((1,), ("rows",), devices=[self._devices[device]])):
            found = _find(self._by, width, self._asked[device], *on_device)
        self._running.append(_Running(first, block, found))
        self.finish(keep_running=len(self._devices))

    def finish(self, keep_running: int) -> None:
        """Takes in what the oldest blocks gave."""
        while len(self._running) > keep_running:
            self._take_in(self._running.popleft())

    def _take_in(self, running: _Running) -> None:
        num = len(self._queries.mean)
        upper, lower, row = (np.asarray(x)[:num] for x in running.found[:3])
        # A row below both can't be among the best k: so many exact scores are higher.
        least = self.best.score[:, -1]
        if lower.shape[1] >= self._k:
            least = np.maximum(least, np.partition(lower, -self._k, axis=1)[:, -self._k])
        passes = (upper >= least[:, None]) & (upper > -np.inf)
        short = passes[:, -1] & (upper.shape[1] < running.found.all_upper.shape[1])
        query, place = np.nonzero(passes & ~short[:, None])
        pairs = [(query, row[query, place])]
        for i in np.flatnonzero(short):  # More rows pass than were looked at.
            scores = np.asarray(running.found.all_upper[i])
            rows = np.flatnonzero((scores >= least[i]) & (scores > -np.inf))
            pairs.append((np.full(len(rows), i), rows))
        self._merge(running, *(np.concatenate(x) for x in zip(*pairs, strict=True)))

    def _merge(self, running: _Running, query: np.ndarray, row: np.ndarray) -> None:
        if not len(query):
            return
        score = score_pairs(self._by, self._queries, query, running.block, row)
        num, k = self.best.row.shape
        query = np.concatenate([np.repeat(np.arange(num), k), query])
        score = np.concatenate([self.best.score.reshape(-1), score])
        row = np.concatenate([self.best.row.reshape(-1), row + running.first])
        row[score == -np.inf] = -1
        order = np.lexsort((row, -score, query))
        # Each query has k entries at least: those that were its best before.
        begin = np.searchsorted(query[order], np.arange(num))
        chosen = order[begin[:, None] + np.arange(k)[None, :]]
        self.best = Best(row[chosen], score[chosen])


def score_pairs(
    by: By, queries: Gaussian, query: np.ndarray, block: Block, row: np.ndarray
) -> np.ndarray:
    """Float64 [pairs]: exact scores of queries with rows of a block, both by number."""
    scores = [np.empty(0)]
    step = max(1, PAIR_NUMBERS // max(1, block.mean.shape[1]))
    for start in range(0, len(query), step):
        some = slice(start, start + step)
        gaussian = Gaussian(*(x[query[some]] for x in queries))
        items = Block(*(x[row[some]] for x in block))
        scores.append(exact(by, gaussian, items))
    return np.concatenate(scores)


class _Found(NamedTuple):
    upper: jax.Array  # Float32[queries width], the highest upper bounds.
    lower: jax.Array  # Float32[queries width], of the same rows.
    row: jax.Array  # Int32[queries width], of the block.
    all_upper: jax.Array  # Float32[queries rows]; stays on the device.


@functools.partial(jax.jit, static_argnums=(0, 1))
def _find(
    by: By,
    width: int,
    queries: Float[Array, "queries dim"],
    mean: Float[Array, "rows dim"],
    uncertainty: Float[Array, " rows"],
    out: Bool[Array, " rows"],
) -> _Found:
    lower, upper = bounds(by, queries, mean, uncertainty)
    lower, upper = (jnp.where(out[None, :], -jnp.inf, x) for x in (lower, upper))
    best, row = _top_k(upper, width)
    return _Found(best, jnp.take_along_axis(lower, row, axis=1), row, upper)


def _top_k(scores: Float[Array, "queries rows"], k: int) -> tuple[Array, Array]:
    """`jax.lax.top_k`, several times faster: the best k are in the k tiles of the best maxima."""
    num, rows = scores.shape
    size = rows & -rows  # Of a tile: a power of two that divides the rows.
    while size * size * k > rows:
        size //= 2
    if size < 2:
        best, row = jax.lax.top_k(scores, k)
        return best, row
    tiles = scores.reshape(num, -1, size)
    # Among equal maxima `top_k` takes the first tiles, and sorting keeps rows in their order.
    tile = jnp.sort(jax.lax.top_k(tiles.max(-1), k)[1], axis=1)
    inside = jnp.take_along_axis(tiles, tile[:, :, None], axis=1).reshape(num, -1)
    best, place = jax.lax.top_k(inside, k)
    return best, jnp.take_along_axis(tile, place // size, axis=1) * size + place % size


def _block_rows(vectors: Vectors) -> int:
    """A power of two, which tiles divide."""
    row_bytes = vectors.dim * vectors.mean.dtype.itemsize
    rows = max(1, BLOCK_BYTES // max(1, row_bytes))
    return min(1 << (rows.bit_length() - 1), 1 << max(0, vectors.count - 1).bit_length())


def _stream(vectors: Vectors, rows: int, buffers: int) -> Iterator[tuple[int, Block, int]]:
    """First row, block and number of its rows, in buffers that are used in turn.

    When the caller asks for block i + 1, it must be done with block i + 2 - `buffers`.
    """
    firsts = range(0, vectors.count, rows)
    ring = [vectors.buffer(rows) for _ in range(min(buffers, len(firsts)))]

    def read(i: int) -> tuple[int, Block, int]:
        block = vectors.block(firsts[i], ring[i % len(ring)])
        return firsts[i], block, min(rows, vectors.count - firsts[i])

    with ThreadPoolExecutor(1, thread_name_prefix="prolip-read") as reader:
        ahead = deque(reader.submit(read, i) for i in range(min(2, len(firsts))))
        for i in range(len(firsts)):
            yield ahead.popleft().result()
            if i + 2 < len(firsts):
                ahead.append(reader.submit(read, i + 2))
