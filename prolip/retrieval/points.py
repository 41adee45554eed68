"""Items with equal embeddings as one point, so that a graph holds each point once.

In a graph of neighbours, items at distance zero fill each other's lists, and items behind them
can't be reached any more.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from prolip.data.records import DataError
from prolip.retrieval.vectors import Vectors

BLOCK_ROWS = 16384
ROWS, STARTS = "hnsw.rows", "hnsw.starts"


@dataclasses.dataclass(frozen=True)
class Points:
    """Rows of a collection by point; points are in the order of their first rows."""

    rows: np.ndarray  # Int64[rows], point by point, ascending within each.
    starts: np.ndarray  # Int64[points + 1], where a point's rows begin.

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def firsts(self) -> np.ndarray:
        """The first row of each point; only where no point is empty."""
        return self.rows[self.starts[:-1]]

    def where(self, keep: np.ndarray) -> "Points":
        """The points with only the rows that a mask lets pass; some may be empty then."""
        passing = keep[self.rows]
        return Points(self.rows[passing], np.concatenate([[0], np.cumsum(passing)])[self.starts])

    def members(self, points: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The first rows of some points, at most so many of each, and the place of their point."""
        sizes = np.minimum(self.starts[points + 1] - self.starts[points], most)
        place = np.repeat(np.arange(len(points)), sizes)
        before = np.concatenate([[0], np.cumsum(sizes)])[:-1]
        within = np.arange(len(place)) - before[place]
        return self.rows[self.starts[points][place] + within], place

    def save(self, folder: Path) -> None:
        """Writes two raw files."""
        self.rows.astype("<i8").tofile(folder / ROWS)
        self.starts.astype("<i8").tofile(folder / STARTS)

    @classmethod
    def load(cls, folder: Path) -> "Points":
        """Those of a folder.

        Raises:
          DataError: they are not there.
        """
        if not (folder / ROWS).is_file():
            raise DataError(
                "the graph is of an older version, in which many equal items could hide others: "
                "run `prolip index` with `--approximate hnsw` again"
            )
        return cls(np.fromfile(folder / ROWS, "<i8"), np.fromfile(folder / STARTS, "<i8"))


def points_of(vectors: Vectors, by: Literal["csd", "mean"]) -> Points:
    """Groups rows that the ranking can't tell apart: equal means, and for "csd" uncertainties.

    Rows are compared by two 64-bit hashes of their bits. Would two different rows ever share both,
    the graph would hold one of them, but both are scored by their own numbers.
    """
    width = vectors.dim + (by == "csd")
    hashes = np.empty((vectors.count, 2), np.uint64)
    buffer = vectors.buffer(min(BLOCK_ROWS, vectors.count))
    for start in range(0, vectors.count, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, vectors.count - start)
        mean, uncertainty = (x[:rows].astype(np.float32) for x in vectors.block(start, buffer))
        numbers = np.concatenate([mean, uncertainty[:, None]], axis=1)[:, :width]
        hashes[start : start + rows] = row_hashes(numbers)
    order = np.lexsort(hashes.T)
    new = np.ones(len(order), bool)
    new[1:] = (hashes[order][1:] != hashes[order][:-1]).any(1)
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new) - 1
    # The sort is stable: the first of each group in it is the lowest row.
    by_first = np.argsort(np.argsort(order[new]))
    point = by_first[group]
    starts = np.concatenate([[0], np.cumsum(np.bincount(point, minlength=new.sum()))])
    return Points(np.argsort(point, kind="stable"), starts)


def row_hashes(numbers: np.ndarray) -> np.ndarray:
    """UInt64[rows 2]: two sums of the bits of float32 numbers with random odd weights."""
    shape = (numbers.shape[1], 2)
    weights = np.random.default_rng(0).integers(0, 2**64, shape, np.uint64) | np.uint64(1)
    positive = np.ascontiguousarray(numbers, np.float32) + np.float32(0)  # -0 becomes 0.
    return positive.view(np.uint32).astype(np.uint64) @ weights
