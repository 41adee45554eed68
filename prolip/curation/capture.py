"""How many there are, from what two searches found and what both of them found."""

import math
from typing import NamedTuple

from prolip.curation.intervals import Interval, clopper_pearson, normal_quantile


class Capture(NamedTuple):
    """An estimate of a number of which only a part was seen."""

    seen: float  # By either.
    number: float  # Estimated, seen or not.
    interval: Interval  # Of the number; its low end is at least what was seen.

    @property
    def completeness(self) -> float:
        """Share of the number that was seen; NaN where there is none."""
        return self.seen / self.number if self.number else float("nan")

    @property
    def completeness_interval(self) -> Interval:
        """Of the completeness."""
        return Interval(*(self.seen / end if end else 0.0 for end in self.interval[::-1]))


def chapman(first: float, second: float, both: float, confidence: float = 0.95) -> Capture:
    """Capture and recapture: (first + 1) (second + 1) / (both + 1) - 1.

    Unbiased where the two are independent. Searches that like the same things see more in common
    than chance, and then the number is estimated too low and the completeness too high.

    Args:
      first: how many one search found; effective counts need not be whole.
      second: how many the other found.
      both: how many both found, at most as many as either.
      confidence: of the interval, which takes the logarithm of the unseen number as normal. Where
        one search found all that the other did, it goes up to what the exact interval of the
        share that one finds of the other's allows.

    Raises:
      ValueError: both found more than one of them, or a negative number.

    Source: Chapman 1951; variance by Seber, Biometrika 57 (1970) 313; interval by Chao,
    Biometrics 43 (1987) 783.
    """
    # Sums of weights differ from themselves by their rounding.
    if not 0 <= both <= min(first, second) * (1 + 1e-9):
        raise ValueError(f"both found {both}, but the first {first} and the second {second}")
    both = min(both, first, second)
    number = (first + 1) * (second + 1) / (both + 1) - 1
    variance = (first + 1) * (second + 1) * (first - both) * (second - both)
    variance /= (both + 1) ** 2 * (both + 2)
    seen = first + second - both
    unseen = number - seen
    if unseen <= 1e-9 * number or not variance:
        return Capture(seen, seen, Interval(seen, _most(first, second, both, confidence)))
    spread = math.sqrt(math.log1p(variance / unseen**2))
    factor = math.exp(normal_quantile(confidence) * spread)
    return Capture(seen, number, Interval(seen + unseen / factor, seen + unseen * factor))


def _most(first: float, second: float, both: float, confidence: float) -> float:
    """The largest number at which one search still finds so much of what the other found."""
    ends = []
    for one, other in ((first, second), (second, first)):
        trials = max(1, round(other))
        low = clopper_pearson(min(round(both), trials), trials, confidence).low
        ends.append(one / low if low else math.inf)
    return max(*ends, first + second - both)
