"""Rankings of ids that somebody gives, read and checked a block of queries at a time."""

from typing import NamedTuple

import numpy as np

from prolip.evals.benchmarks.rows import Rows


class GivenRankings(NamedTuple):
    """For each query ids from the best on, and the folds of queries and targets."""

    ids: np.ndarray  # Int[given length]
    rows: np.ndarray  # Int[queries]: where the ranking of each query stands.
    gallery: Rows
    own_fold: np.ndarray  # Int[queries]
    fold: np.ndarray  # Int[targets]

    def heads(self, length: int, k: int, block: int = 256) -> tuple[np.ndarray, np.ndarray | None]:
        """The first `length` targets of each query, and the first k of its own fold.

        Returns:
          Int[queries length] and Int[queries k], rows of the gallery; None in the place of the
          second if the rankings don't show as many of the fold.

        Raises:
          ValueError: a ranking with an item twice, or with one that is not in the gallery.
        """
        size = len(self.gallery)
        # A table by id: a search for each of some 10^8 entries would take all the time.
        table = np.full(1 + max(self.gallery.ids.max(), self.ids.max(initial=0)), size, np.int32)
        table[self.gallery.ids] = np.arange(size)
        heads = np.empty((len(self.rows), length), np.int64)
        folded: np.ndarray | None = np.empty((len(self.rows), k), np.int64)
        for start in range(0, len(self.rows), block):
            some = slice(start, start + block)
            given = self.ids[self.rows[some]]
            found = table[given]
            if (unknown := (found == size) | (given < 0)).any():
                raise ValueError(
                    f"a ranking has {self.gallery.kind} {given[unknown][0]}, which is not among "
                    f"the {size:,} of the benchmark"
                )
            self._refuse_repeats(found, start)
            heads[some] = found[:, :length]
            if folded is not None:
                first = self._first_of_fold(found, self.own_fold[some], k)
                if first is None:
                    folded = None
                else:
                    folded[some] = first
        return heads, folded

    def _refuse_repeats(self, found: np.ndarray, start: int) -> None:
        for query, row in enumerate(found, start):
            seen = np.zeros(len(self.gallery), bool)
            seen[row] = True
            if np.count_nonzero(seen) < len(row):
                raise ValueError(f"query {query}: its ranking holds a target more than once")

    def _first_of_fold(self, found: np.ndarray, own: np.ndarray, k: int) -> np.ndarray | None:
        # Mostly near the front: the rest is looked at only if it has to be.
        width = min(found.shape[1], 32 * k)
        while True:
            inside = self.fold[found[:, :width]] == own[:, None]
            if (inside.sum(1) >= k).all():
                place = np.argsort(~inside, axis=1, kind="stable")[:, :k]
                return np.take_along_axis(found, place, axis=1)
            if width == found.shape[1]:
                return None
            width = min(found.shape[1], 4 * width)
