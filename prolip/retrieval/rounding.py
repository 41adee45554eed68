"""Means in half precision: the share of answers whose order that changes.

Ranking in float64 is of no help: what rounding took from the stored numbers does not come back.
"""

import dataclasses
from pathlib import Path

import numpy as np

from prolip.retrieval.points import row_hashes
from prolip.retrieval.probes import probes
from prolip.retrieval.search import exact_search
from prolip.retrieval.vectors import FileColumn, Vectors

LIST = 10  # Items of a list.
DRAWN_BITS = 12  # Of the number of rows of noise; a row of numbers always gets the same one.
UNROUNDED = "unrounded"  # Means before they were rounded; removed once they are compared.


@dataclasses.dataclass(frozen=True)
class Rounding:
    """Changes of the answers by means in half precision, against float32."""

    changed: float  # Share of top-10 lists with other items or another order.
    queries: int  # Of how many lists: those of items moved by noise.
    measured: bool  # Against the float32 numbers; else estimated, as the collection has none.


def changed_lists(stored: Vectors, other: Vectors) -> tuple[float, int]:
    """Share of top-10 lists that differ between two versions of a collection, and of how many.

    A list differs when it has other items, or the same ones in another order.
    """
    if not stored.count:
        return 0.0, 0
    queries = probes(other, np.arange(other.count))
    first, second = (exact_search(v, queries, LIST, "csd").row for v in (stored, other))
    return float((first != second).any(1).mean()), len(first)


def as_if_unrounded(mean: np.ndarray) -> np.ndarray:
    """Float32 numbers that float16 would round to these, drawn evenly; equal rows stay equal."""
    half = mean.astype(np.float16)
    step = np.spacing(np.abs(half)).astype(np.float32)
    shape = (2**DRAWN_BITS, mean.shape[1])
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    # The high bits: float16 numbers end in zeros in float32, and so do their sums.
    return half + step * noise[row_hashes(mean)[:, 0] >> np.uint64(64 - DRAWN_BITS)]


def measure(folder: Path, vectors: Vectors, *, known: bool) -> Rounding | None:
    """Measures how half precision changes the answers; None in float32.

    Args:
      folder: of an index that is being built; the file `UNROUNDED` in it is removed.
      vectors: as they are stored.
      known: the file has the numbers as they were; else as they could have been.
    """
    path = folder / UNROUNDED
    if not path.exists():
        return None
    before = FileColumn(path, np.dtype("<f4"), vectors.mean.shape)
    changed, queries = changed_lists(vectors, Vectors(before, vectors.uncertainty))
    path.unlink()
    return Rounding(changed, queries, measured=known)
