"""The account of records that could not be used."""

import collections
from collections.abc import Iterable, Sequence
from typing import Any

from prolip.data.records import Bad, DataError

LEAST_SEEN = 1000  # Records after which the fraction means something; before, the count is judged.
NAMED = 5  # Bad records that the error names.


class Quarantine:
    """Bad records by number and reason, and their share of all records drawn.

    Adding a record costs the same however many there are, and a bit of memory for each record of
    the data; what is to be listed is kept until `take` hands it over.

    Args:
      max_bad_fraction: Of the records drawn; above it the run stops.
      damage: Of files, found before any record was drawn; listed, but no part of the fraction.

    Attributes:
      reasons: Number of distinct bad records for each reason.
      damage: Number of damaged places in files for each reason.
      seen: Records drawn, bad ones included.
      hits: Number of draws that met a bad record; repeated ones count each time.
    """

    def __init__(self, max_bad_fraction: float, damage: Sequence[Bad] = ()):
        self._max_bad_fraction = max_bad_fraction
        self.reasons: collections.Counter[str] = collections.Counter()
        self.damage = dict(collections.Counter(bad.reason for bad in damage))
        self.seen = 0
        self.hits = 0
        self._known = _Numbers()
        self._named: list[str] = []
        self._unlisted = list(damage)

    def __len__(self) -> int:
        """Number of distinct bad records."""
        return self.reasons.total()

    def metrics(self) -> dict[str, float]:
        """Draws that met a bad record, and distinct records by reason; empty where all is good."""
        draws: dict[str, float] = {"data/bad/draws": self.hits} if self.hits else {}
        counts = {**self.damage, **self.reasons}
        return draws | {f"data/bad/{reason}": float(n) for reason, n in counts.items()}

    def take(self) -> list[Bad]:
        """Returns what has become known since the last call: damage, then records, each once."""
        taken, self._unlisted = self._unlisted, []
        return taken

    def lines(self) -> list[dict[str, Any]]:
        """Returns what `take` would, as rows of `quarantine.jsonl`, without taking it."""
        return [line(bad) for bad in self._unlisted]

    def add(self, good: int, bad: Iterable[Bad]) -> None:
        """Counts the records of a batch.

        Raises:
          DataError: too large a part of the data is bad.
        """
        self.seen += good
        for record in bad:
            self.seen += 1
            self.hits += 1
            if record.number is not None and self._known.add(record.number):
                self.reasons[record.reason] += 1
                self._unlisted.append(record)
                if len(self._named) < NAMED:
                    self._named.append(record.key)
        if self.hits > self._max_bad_fraction * max(self.seen, LEAST_SEEN):
            listed = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.items())
            some = ", ".join(self._named)
            raise DataError(
                f"{self.hits} of {self.seen} records drawn could not be used ({listed}; records "
                f"{some} ...); mend the data or raise data.max_bad_fraction, which is "
                f"{self._max_bad_fraction}"
            )


def line(bad: Bad) -> dict[str, Any]:
    """Row of `quarantine.jsonl`."""
    return {"record": bad.number, "key": bad.key, "reason": bad.reason}


class _Numbers:
    """A set of numbers of records, one bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> bool:
        """Adds a number; returns whether it is new."""
        byte, bit = number >> 3, 1 << (number & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits)))
        if self._bits[byte] & bit:
            return False
        self._bits[byte] |= bit
        return True
