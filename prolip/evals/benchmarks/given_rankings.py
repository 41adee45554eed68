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

    def heads(self, length: int, k: int, block: int = 1024) -> tuple[np.ndarray, np.ndarray | None]:
        """The first `length` targets of each query, and the first k of its own fold.

        Only as much of the rankings is read, and checked, as holds these: the rest decides nothing.

        Returns:
          Int[queries length] and Int[queries k], rows of the gallery; None in the place of the
          second if the rankings don't show as many of the fold.

        Raises:
          ValueError: a ranking with an item twice, or with one that is not in the gallery.
        """
        size = len(self.gallery)
        # A table by id: a search for each entry would take most of the time.
        table = np.full(self.gallery.ids.max() + 2, size, np.int32)
        table[self.gallery.ids] = np.arange(size)
        heads = np.empty((len(self.rows), length), np.int64)
        folded: np.ndarray | None = np.empty((len(self.rows), k), np.int64)
        for start in range(0, len(self.rows), block):
            some = slice(start, start + block)
            # The fold is a fifth of the items: mostly near the front.
            width = max(length, 32 * k) if folded is not None else length
            while True:
                found = self._read(table, some, width)
                if folded is None:
                    break
                inside = self.fold[found] == self.own_fold[some, None]
                if (inside.sum(1) >= k).all():
                    place = np.argsort(~inside, axis=1, kind="stable")[:, :k]
                    folded[some] = np.take_along_axis(found, place, axis=1)
                    break
                if width >= self.ids.shape[1]:
                    folded = None
                width *= 4
            heads[some] = found[:, :length]
        return heads, folded

    def _read(self, table: np.ndarray, some: slice, width: int) -> np.ndarray:
        """Rows of the gallery in place of the first `width` ids of some queries."""
        given = self.ids[self.rows[some], :width]
        # Negative ids are clipped to 0, which COCO doesn't have, too large ones to the last entry.
        found = table.take(given, mode="clip")
        if (unknown := found == len(self.gallery)).any():
            raise ValueError(
                f"a ranking has {self.gallery.kind} {given[unknown][0]}, which is not among "
                f"the {len(self.gallery):,} of the benchmark"
            )
        ordered = np.sort(found, axis=1)
        if (repeats := (ordered[:, 1:] == ordered[:, :-1]).any(1)).any():
            query = some.start + int(np.argmax(repeats))
            raise ValueError(f"query {query}: its ranking holds a target more than once")
        return found
