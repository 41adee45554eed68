"""From ids of items to rows of arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prolip.evals.benchmarks.annotations import Matches


class Rows:
    """Where the items with certain ids stand.

    Args:
      ids: Int[items], all different.
      kind: what an item is called in errors.

    Raises:
      ValueError: an id that is there twice, or not an integer.
    """

    def __init__(self, ids: Any, kind: str):
        self.ids, self.kind = np.asarray(ids), kind
        if self.ids.ndim != 1 or self.ids.dtype.kind not in "iu":
            raise ValueError(f"{kind} ids must be integers [{kind}s], got {self.ids.dtype}")
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        if (twice := self._sorted[1:][self._sorted[1:] == self._sorted[:-1]]).size:
            raise ValueError(f"{kind} {twice[0]} is there more than once")

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Row of each id; the number of items for an id that is not there."""
        if not len(self):
            return np.zeros(np.shape(ids), np.int64)
        place = np.minimum(np.searchsorted(self._sorted, ids), len(self) - 1)
        return np.where(self._sorted[place] == ids, self._order[place], len(self))

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        """Row of each id.

        Raises:
          ValueError: some are not there; the first is named.
        """
        rows = self.find(ids)
        if (missing := rows == len(self)).any():
            raise ValueError(
                f"{int(missing.sum()):,} of {len(rows):,} {self.kind}s that the benchmark has are "
                f"not given, the first is {self.kind} {ids[int(np.argmax(missing))]}"
            )
        return rows

    def targets(self, matches: Matches, queries: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Rows of the targets of some queries; what has no row gets one beyond the last.

        Such a target can't be retrieved, but counts among the positives: two captions of ECCV
        Caption are not among COCO's 25,000.
        """
        lists = [matches[query] for query in np.asarray(queries).tolist()]
        rows = self.find(np.concatenate([*lists, np.zeros(0, np.int64)]))
        lost = rows == len(self)
        rows[lost] += np.arange(lost.sum())
        return np.split(rows, np.cumsum([len(row) for row in lists])[:-1])
