"""What goes with what: correlations, and a metric over bins of uncertainty. NumPy only."""

from typing import Any, NamedTuple

import numpy as np


def pearson(x: Any, y: Any) -> float:
    """Correlation of two vectors; NaN where either is constant or shorter than two."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


def spearman(x: Any, y: Any) -> float:
    """Rank correlation of two vectors, ties by their mean rank.

    NaN where either is constant or has a NaN, which has no rank.
    """
    if any(np.isnan(np.asarray(v, np.float64)).any() for v in (x, y)):
        return float("nan")
    return pearson(mean_ranks(np.asarray(x)), mean_ranks(np.asarray(y)))


class Bins(NamedTuple):
    """A metric over bins of equal size, from the least uncertain bin to the most."""

    metric: np.ndarray  # Float[bins], mean of the values in the bin.
    uncertainty: np.ndarray  # Float[bins], mean uncertainty in the bin.
    pearson: float  # Of the metric with the bin's number; near -1 is good.
    spearman: float


def uncertainty_bins(values: Any, uncertainty: Any, bins: int = 10) -> Bins:
    """Sorts items by uncertainty and averages `values` in equal bins; the remainder is dropped.

    Source: naver-ai/prolip `src/prolip_train/zero_shot_unc.py`.

    Raises:
      ValueError: fewer items than bins, lengths that differ, or a NaN; the item is named.
    """
    values, uncertainty = np.asarray(values, np.float64), np.asarray(uncertainty, np.float64)
    if len(values) != len(uncertainty):
        raise ValueError(f"{len(values)} values but {len(uncertainty)} uncertainties")
    if (bad := np.isnan(values) | np.isnan(uncertainty)).any():
        raise ValueError(f"item {int(np.argmax(bad))} is not a number")
    size = len(values) // bins
    if size == 0:
        raise ValueError(f"{len(values)} items do not fill {bins} bins; use fewer bins")
    order = np.argsort(uncertainty, kind="stable")[: size * bins].reshape(bins, size)
    metric, number = values[order].mean(1), np.arange(bins)
    return Bins(
        metric, uncertainty[order].mean(1), pearson(number, metric), spearman(number, metric)
    )


def kendall(x: Any, y: Any) -> float:
    """Kendall's tau-b of two vectors: pairs in the same order less pairs in the opposite one.

    Ties count in neither, and the rest is divided by the geometric mean of the pairs that are no
    ties in x and in y (Kendall 1945). Quadratic in the length; NaN where either is constant.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    signs = [np.sign(v[:, None] - v[None, :]) for v in (x, y)]
    decided = [np.abs(s).sum() for s in signs]
    if not all(decided):
        return float("nan")
    return float((signs[0] * signs[1]).sum() / np.sqrt(decided[0] * decided[1]))


def mean_ranks(x: np.ndarray) -> np.ndarray:
    """Ranks [items] of a vector, from 1 for the least; equal values have the mean of theirs."""
    _, index, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[index]
