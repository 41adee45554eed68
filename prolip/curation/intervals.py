"""Confidence intervals of a proportion."""

import math
import statistics
from typing import NamedTuple

import numpy as np

HALVINGS = 60  # Of [0, 1]: to the last bit of a float64 that matters here.


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float


def wilson(successes: float, trials: float, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion: near the nominal coverage, on either side of it.

    Args:
      successes: from 0 to `trials`; an effective number need not be whole.
      trials: above 0.
      confidence: of the interval, two-sided.

    Raises:
      ValueError: a number out of its bounds.

    Source: Wilson, JASA 22 (1927) 209.
    """
    _check(successes, trials, confidence)
    z2 = normal_quantile(confidence) ** 2
    share = successes / trials
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2)))
    half /= 1 + z2 / trials
    # At the ends the formula is exact but for its rounding.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == trials else min(1.0, middle + half)
    return Interval(low, high)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a proportion: it covers at least as often as it says.

    The ends are the probabilities at which so many successes or more, or so many or fewer, have
    half of what the confidence leaves. They are found by halving, so that SciPy is not needed.

    Args:
      successes: whole, from 0 to `trials`.
      trials: whole, above 0.
      confidence: of the interval, two-sided.

    Raises:
      ValueError: a number out of its bounds.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404.
    """
    _check(successes, trials, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else 1 - _upper(trials - successes, trials, tail)
    high = 1.0 if successes == trials else _upper(successes, trials, tail)
    return Interval(low, high)


def normal_quantile(confidence: float) -> float:
    """How many standard deviations hold this part of a normal distribution, two-sided."""
    return statistics.NormalDist().inv_cdf((1 + confidence) / 2)


def _upper(successes: int, trials: int, tail: float) -> float:
    """The probability at which at most `successes` of `trials` happen with probability `tail`."""
    count = np.arange(successes + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    ways = log_factorial[trials] - log_factorial[count] - log_factorial[trials - count]
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        logs = ways + count * math.log(middle) + (trials - count) * math.log1p(-middle)
        if np.exp(logs - logs.max()).sum() * math.exp(logs.max()) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _check(successes: float, trials: float, confidence: float) -> None:
    if not 0 <= successes <= trials or trials <= 0:
        raise ValueError(f"{successes} successes of {trials} trials have no proportion")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1; got {confidence}")
