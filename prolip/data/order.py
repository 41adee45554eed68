"""Which record is at which position of a run's samples: a pure function of seed and position."""

import sys
from collections.abc import Sequence

import grain
import numpy as np

from prolip.data.records import DataError

# Positions after which the components of a mixture come in the same turns: shares are exact to
# one in as many.
TURNS = 10_000


def sample_order(parts: Sequence[range], shares: Sequence[float], seed: int) -> grain.MapDataset:
    """Numbers of records, endless.

    One component comes in permutations, each of them an epoch. Several take turns by their shares,
    each in permutations of its own, so that a batch holds all of them in their shares.

    Args:
      parts: Numbers of the records of each component.
      shares: Of the samples, one for each component, of any sum.
      seed: Of the permutations.

    Raises:
      DataError: a share is too small.
    """
    seeds = [seed % 2**32]
    if len(parts) > 1:
        seeds = np.random.SeedSequence(seed % 2**64).generate_state(len(parts)).tolist()
    orders = [
        grain.MapDataset.range(part.start, part.stop).seed(own).shuffle().repeat()
        for part, own in zip(parts, seeds, strict=True)
    ]
    return orders[0] if len(orders) == 1 else grain.MapDataset.source(_Turns(orders, shares))


class _Turns:
    """Components in turns, as a sequence without end."""

    def __init__(self, orders: Sequence[grain.MapDataset], shares: Sequence[float]):
        self._orders = orders
        self._turns = turns(shares)
        self._counts = np.bincount(self._turns, minlength=len(orders))
        self._earlier = np.zeros(TURNS, np.int64)  # Turns of the same component before.
        for number in range(len(orders)):
            mine = self._turns == number
            self._earlier[mine] = np.arange(mine.sum())

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, position: int) -> int:
        round_, turn = divmod(position, TURNS)
        number = self._turns[turn]
        return self._orders[number][int(round_ * self._counts[number] + self._earlier[turn])]


def turns(shares: Sequence[float]) -> np.ndarray:
    """UInt8[TURNS]: the component whose turn it is; at every place the one that is most behind.

    Raises:
      DataError: a share is too small for a turn.
    """
    wanted = np.asarray(shares, np.float64) / sum(shares)
    if wanted.min() < 1 / TURNS or len(wanted) > 255:
        raise DataError(f"data.mixture: a share is less than one sample in {TURNS:,}")
    taken = np.zeros(len(wanted))
    found = np.empty(TURNS, np.uint8)
    for place in range(TURNS):
        found[place] = np.argmax(wanted * (place + 1) - taken)
        taken[found[place]] += 1
    return found
