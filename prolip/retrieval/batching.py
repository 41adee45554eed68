"""Prepared items to full batches, and these to the rows of finished parts."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from prolip.gaussian import Gaussian
from prolip.retrieval.embeddings import Failure, Rows
from prolip.retrieval.parts import Division
from prolip.retrieval.preparing import Piece, Prepare, Prepared, PreparedPiece, ahead

PIECE = 16  # Items that a thread prepares at a time.
NOT_A_NUMBER = "the model gives no number"


class Work(NamedTuple):
    """How items are embedded."""

    prepare: Prepare
    tower: Callable[[np.ndarray], Gaussian]  # Rows of a batch to float32 NumPy arrays.
    dim: int
    batch_size: int
    threads: int


class FinishedPart(NamedTuple):
    """All items of a part, each in one of the two."""

    number: int
    rows: Rows
    failures: list[Failure]
    departures: dict[str, int]  # From how viewers show images: counts by `data.image.departure`.


class _Batch(NamedTuple):
    """Items of one part that are embedded together, and those that failed among them."""

    part: int
    items: list[Prepared]
    failures: list[Failure]
    last: bool  # Of its part.


def finished_parts(
    work: Work, division: Division, parts: Iterable[int], advance: Callable[[int], None]
) -> Iterator[FinishedPart]:
    """Embeds parts one by one, while threads prepare what comes next.

    Args:
      work: How.
      division: What the items of a part are.
      parts: Which; asked for the next one shortly before it is begun.
      advance: Is told how many more items are done.
    """

    def run(items: Sequence[Prepared]) -> Gaussian:
        if not items:
            empty: Any = np.zeros((0, work.dim), np.float32)
            return Gaussian(empty, empty)
        rows = np.zeros((work.batch_size, *items[0].row.shape), items[0].row.dtype)
        for row, item in zip(rows, items, strict=False):
            row[...] = item.row
        out: list[Any] = [x[: len(items)] for x in work.tower(rows)]
        return Gaussian(*out)

    pieces = _pieces(division, parts)
    count = 2 * work.batch_size // PIECE + work.threads
    done: list[tuple[_Batch, Gaussian]] = []
    # One thread talks to the devices: two programs at once may wait for each other's collectives.
    with ThreadPoolExecutor(work.threads) as pool, ThreadPoolExecutor(1) as device:
        try:
            batches = _batches(ahead(pieces, work.prepare, pool, count), work.batch_size)
            for batch, gaussian in _embedded(batches, run, device):
                done.append((batch, gaussian))
                advance(len(batch.items) + len(batch.failures))
                if batch.last:
                    yield _joined(done)
                    done = []
        finally:
            for executor in (pool, device):
                executor.shutdown(wait=False, cancel_futures=True)


def _pieces(division: Division, parts: Iterable[int]) -> Iterator[Piece]:
    for part in parts:
        items = division[part]
        for start in range(items.start, items.stop, PIECE):
            yield Piece(part, range(start, min(start + PIECE, items.stop)))


def _batches(ready: Iterable[PreparedPiece], size: int) -> Iterator[_Batch]:
    """Full batches; the last one of a part is what is left, so that parts don't mix."""
    for part, pieces in itertools.groupby(ready, lambda done: done.piece.part):
        items: list[Prepared] = []
        failures: list[Failure] = []
        for piece in pieces:
            items += piece.good
            failures += piece.failures
            while len(items) > size:
                yield _Batch(part, items[:size], failures, last=False)
                items, failures = items[size:], []
        yield _Batch(part, items, failures, last=True)


def _embedded(
    batches: Iterable[_Batch], run: Callable[[Sequence[Prepared]], Gaussian], device: Executor
) -> Iterator[tuple[_Batch, Gaussian]]:
    """Keeps the devices busy while the batch before is written and the next one is made."""
    waiting: collections.deque[tuple[_Batch, Future[Gaussian]]] = collections.deque()
    for batch in batches:
        waiting.append((batch, device.submit(run, batch.items)))
        if len(waiting) > 1:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _joined(done: Sequence[tuple[_Batch, Gaussian]]) -> FinishedPart:
    """A part from its batches; items whose embedding is not a number are failures."""
    items = [item for batch, _ in done for item in batch.items]
    failures = [failure for batch, _ in done for failure in batch.failures]
    mean, log_var = (np.concatenate(x) for x in zip(*(g for _, g in done), strict=True))
    # A log-variance of minus infinity is zero variance.
    good = np.isfinite(mean).all(-1) & (log_var < np.inf).all(-1)
    failures += [
        Failure(item.number, item.id, NOT_A_NUMBER)
        for item, is_good in zip(items, good, strict=True)
        if not is_good
    ]
    items = list(itertools.compress(items, good))
    gaussian: Any = Gaussian(mean[good], log_var[good])
    rows = Rows(
        tuple(item.id for item in items),
        gaussian,
        np.exp(gaussian.log_var).sum(-1),
        tuple(item.uri for item in items),
        tuple(item.text for item in items),
        tuple(item.thumbnail for item in items),
    )
    departures = dict(collections.Counter(item.departure for item in items if item.departure))
    failures.sort(key=lambda failure: failure.item)
    return FinishedPart(done[0][0].part, rows, failures, departures)
