"""The account of records that could not be used."""

import collections
from collections.abc import Iterable, Sequence
from typing import Any

from prolip.data.records import Bad, DataError

LEAST_SEEN = 1000  # Records after which the fraction means something; before, the count is judged.


class Quarantine:
    """Bad records by number and reason, and their share of all records drawn.

    Args:
      max_bad_fraction: Of the records drawn; above it the run stops.
      damage: Of files, found before any record was drawn; listed, but no part of the fraction.

    Attributes:
      records: Number of the record to the reason, in the order of their first appearance.
      keys: Number of the record to its name.
      seen: Records drawn, bad ones included.
      hits: How many of them were bad, repeated ones each time.
    """

    def __init__(self, max_bad_fraction: float, damage: Sequence[Bad] = ()):
        self._max_bad_fraction, self._damage = max_bad_fraction, tuple(damage)
        self.records: dict[int, str] = {}
        self.keys: dict[int, str] = {}
        self.seen = 0
        self.hits = 0

    def __len__(self) -> int:
        """Of `lines`."""
        return len(self._damage) + len(self.records)

    @property
    def reasons(self) -> dict[str, int]:
        """How many distinct records are bad for which reason."""
        return dict(collections.Counter(self.records.values()))

    @property
    def damage(self) -> dict[str, int]:
        """How many places of the files are damaged for which reason."""
        return dict(collections.Counter(bad.reason for bad in self._damage))

    def metrics(self) -> dict[str, float]:
        """How many draws were bad, and distinct records by reason; nothing where all is good."""
        found: dict[str, float] = {"data/bad/draws": self.hits} if self.hits else {}
        counts = {**self.damage, **self.reasons}
        return found | {f"data/bad/{reason}": float(n) for reason, n in counts.items()}

    def lines(self) -> list[dict[str, Any]]:
        """One JSON object a record, for `quarantine.jsonl`."""
        records = (Bad(number, self.keys[number], why) for number, why in self.records.items())
        return [
            {"record": bad.number, "key": bad.key, "reason": bad.reason}
            for bad in (*self._damage, *records)
        ]

    def add(self, good: int, bad: Iterable[Bad]) -> None:
        """Counts the records of a batch.

        Raises:
          DataError: too large a part of the data is bad.
        """
        self.seen += good
        for number, key, reason in bad:
            self.seen += 1
            self.hits += 1
            if number is not None:
                self.records.setdefault(number, reason)
                self.keys.setdefault(number, key)
        if self.hits > self._max_bad_fraction * max(self.seen, LEAST_SEEN):
            listed = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.items())
            some = ", ".join(list(self.keys.values())[:5])
            raise DataError(
                f"{self.hits} of {self.seen} records drawn could not be used ({listed}; records "
                f"{some} ...); mend the data or raise data.max_bad_fraction, which is "
                f"{self._max_bad_fraction}"
            )
