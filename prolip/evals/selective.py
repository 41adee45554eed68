"""Risk against coverage: how wrong are the answers if the most uncertain queries get none?

Source: risk-coverage curve and AURC of Geifman and El-Yaniv (arXiv 1705.08500), excess over the
best possible order (E-AURC) of Geifman et al. (arXiv 1805.08206).
"""

from typing import Any, NamedTuple

import numpy as np


class RiskCoverage(NamedTuple):
    """The curve, and what it amounts to."""

    coverage: np.ndarray  # Float64[items]: k / n for k = 1 ... n.
    risk: np.ndarray  # Float64[items]: mean error of the k most certain items.
    aurc: float  # Mean of the risk over all coverages; less is better.
    excess: float  # aurc minus that of the best order; 0 if certainty sorts errors perfectly.
    gain: float  # 1: the best order; 0: as if by chance, whose AURC is the mean error.


def risk_coverage(errors: Any, uncertainty: Any) -> RiskCoverage:
    """Orders items by uncertainty and averages the errors of the k most certain, for each k.

    Items of equal uncertainty count with the mean of their errors, which is what a random order
    among them gives on average: the result does not depend on the order of the input.

    Args:
      errors: Float[items] in [0, 1]: 1 - R@1, for instance.
      uncertainty: Float[items], larger for what should be answered last.

    Raises:
      ValueError: no items, lengths that differ, or a NaN; the item is named.
    """
    error, doubt = np.asarray(errors, np.float64), np.asarray(uncertainty, np.float64)
    if error.ndim != 1 or error.shape != doubt.shape or not len(error):
        raise ValueError(f"need as many errors as uncertainties, got {error.shape}, {doubt.shape}")
    if (bad := np.isnan(error) | np.isnan(doubt)).any():
        raise ValueError(f"item {int(np.argmax(bad))} is not a number")
    _, group = np.unique(doubt, return_inverse=True)
    expected = (np.bincount(group, weights=error) / np.bincount(group))[group]
    risk = _running_mean(expected[np.argsort(group, kind="stable")])
    aurc, best = float(risk.mean()), float(_running_mean(np.sort(error)).mean())
    room = float(error.mean()) - best
    return RiskCoverage(
        coverage=np.arange(1, len(error) + 1) / len(error),
        risk=risk,
        aurc=aurc,
        excess=aurc - best,
        gain=(float(error.mean()) - aurc) / room if room > 1e-12 else float("nan"),
    )


def _running_mean(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values) / np.arange(1, len(values) + 1)
