"""The account of records that could not be used."""

import collections
from collections.abc import Iterable
from typing import Any

from prolip.data.records import DataError

LEAST_SEEN = 1000  # Records after which the fraction means something; before, the count is judged.


class Quarantine:
    """Bad records by number and reason, and their share of all records drawn.

    Attributes:
      records: Number of the record to the reason, in the order of their first appearance.
      seen: Records drawn, bad ones included.
      hits: How many of them were bad, repeated ones each time.
    """

    def __init__(self, max_bad_fraction: float):
        self._max_bad_fraction = max_bad_fraction
        self.records: dict[int, str] = {}
        self.seen = 0
        self.hits = 0

    @property
    def reasons(self) -> dict[str, int]:
        """How many distinct records are bad for which reason."""
        return dict(collections.Counter(self.records.values()))

    def lines(self) -> list[dict[str, Any]]:
        """One JSON object a record, for `quarantine.jsonl`."""
        return [{"record": number, "reason": reason} for number, reason in self.records.items()]

    def add(self, good: int, bad: Iterable[tuple[int, str]]) -> None:
        """Counts the records of a batch.

        Raises:
          DataError: too large a part of the data is bad.
        """
        self.seen += good
        for number, reason in bad:
            self.seen += 1
            self.hits += 1
            self.records.setdefault(number, reason)
        if self.hits > self._max_bad_fraction * max(self.seen, LEAST_SEEN):
            listed = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.items())
            some = ", ".join(map(str, list(self.records)[:5]))
            raise DataError(
                f"{self.hits} of {self.seen} records drawn could not be used ({listed}; records "
                f"{some} ...); mend the data or raise data.max_bad_fraction, which is "
                f"{self._max_bad_fraction}"
            )
