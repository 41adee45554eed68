"""Several sources in fixed shares.

One epoch of a mixture is as many samples as its components have records together. A component
whose share is larger than its part of the records is seen more than once in it, by a new order
each time; the others are seen in part, and go on in the next epoch where they were.
"""

import bisect
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from prolip.data.records import Bad, DataError, Record
from prolip.data.sources.source import MAX_RECORDS, Source


class Mixture(Source):
    """Records of the components, numbered one component after the other.

    Args:
      components: The sources.
      weights: Their shares of the samples, positive, of any sum.

    Raises:
      DataError: there is none, or they have too many records.
    """

    def __init__(self, components: Sequence[Source], weights: Sequence[float]):
        if not components:
            raise DataError("a mixture needs a component")
        self.components, self.weights = tuple(components), tuple(weights)
        self._begins = np.cumsum([0, *map(len, components)]).tolist()
        if self._begins[-1] > MAX_RECORDS:
            raise DataError(f"a mixture of {self._begins[-1]:,} records; at most {MAX_RECORDS:,}")
        self.name = " + ".join(component.name for component in components)
        self.damage = [
            Bad(bad.number, self._named(i, bad.key), bad.reason)
            for i, component in enumerate(components)
            for bad in component.damage
        ]
        self.notes = [note for component in components for note in component.notes]

    def __len__(self) -> int:
        return self._begins[-1]

    def __getitem__(self, index: int) -> Record:
        component, number = self._place(index)
        record = self.components[component][number]
        return record._replace(key=self._named(component, record.key))

    def captions(self, index: int) -> tuple[tuple[str, ...], ...]:
        component, number = self._place(index)
        return self.components[component].captions(number)

    def same_image(self, index: int) -> Sequence[int]:
        """Within the record's component."""
        component, number = self._place(index)
        begin = self._begins[component]
        return [begin + other for other in self.components[component].same_image(number)]

    def key(self, index: int) -> str:
        """Number of the component from 0, colon, key in it."""
        component, number = self._place(index)
        return self._named(component, self.components[component].key(number))

    def digest(self) -> str:
        """Of the components and their shares."""
        digest = hashlib.sha256()
        for component, weight in zip(self.components, self.weights, strict=True):
            digest.update(f"{component.name} {component.digest()} {weight!r}\n".encode())
        return digest.hexdigest()

    @property
    def parts(self) -> tuple[range, ...]:
        """Numbers of each component."""
        ends = self._begins[1:]
        return tuple(range(a, b) for a, b in zip(self._begins, ends, strict=False))

    def describe(self) -> dict[str, Any]:
        """With each component and its share."""
        parts = [
            {**component.describe(), "share": weight / sum(self.weights)}
            for component, weight in zip(self.components, self.weights, strict=True)
        ]
        return {**super().describe(), "mixture": parts}

    def __reduce__(self) -> tuple[Any, ...]:
        return Mixture, (self.components, self.weights)

    def _place(self, index: int) -> tuple[int, int]:
        component = bisect.bisect_right(self._begins, index) - 1
        return component, index - self._begins[component]

    @staticmethod
    def _named(component: int, key: str) -> str:
        return f"{component}:{key}"
