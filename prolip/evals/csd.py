"""Scores that order pairs as the sampled distance (CSD) does, for Gaussians of any length.

-CSD / 2 = mean product - (|mean|^2 + trace) / 2 of both sides. Where means are unit their lengths
are a constant, and a matrix product minus half of the traces is enough, as the published code has
it. Where they are not, leaving the lengths out would rank long means first.
"""

from typing import Any, NamedTuple

import numpy as np

from prolip.config import SlotsConfig
from prolip.evals.context import ONE_SLOT, variance_trace
from prolip.gaussian import Gaussian

UNIT_TOLERANCE = 1e-5  # Of a squared length: float32 rounding of a mean that was made unit.


class Terms(NamedTuple):
    """`queries @ gallery.T - half - query_half[:, None]` is 1 - CSD / 2 without the query's trace.

    NumPy arrays. `query_half` is the same for all items of a query: rankings don't need it, scores
    that are compared between queries do.
    """

    queries: np.ndarray  # Float[queries dim]
    gallery: np.ndarray  # Float[items dim]
    half: np.ndarray  # Float64[items], half of the trace where means are unit.
    query_half: np.ndarray  # Float64[queries], zero where means are unit.


def terms(
    queries: Gaussian, gallery: Gaussian, mean_only: bool = False, slots: SlotsConfig = ONE_SLOT
) -> Terms:
    """Returns the terms that the scores of all pairs are made of.

    Args:
      queries: N Gaussians; their variances don't matter for their own rankings.
      gallery: M Gaussians.
      mean_only: leaves out the gallery's variances.
      slots: of a model with sets, whose rows are compared in their own way and left as they are.

    Raises:
      ValueError: an embedding is not a number, or of infinite variance; its row is named. Such
        scores would be sorted somewhere, and give a rank.
    """
    mean, query = np.asarray(gallery.mean), np.asarray(queries.mean)
    trace = np.zeros(len(mean)) if mean_only else variance_trace(gallery)
    check_numbers(np.isfinite(query).all(-1), "query")
    check_numbers(np.isfinite(mean).all(-1) & np.isfinite(trace), "target")
    if slots.count > 1 or (is_unit(mean) and is_unit(query)):
        return Terms(query, mean, trace / 2, np.zeros(len(query)))
    center = mean.astype(np.float64).mean(0)
    if squared_length(center) > squared_length(mean - center).mean():
        # Distances don't change if both sides are shifted; what all means share costs precision.
        query, mean = query - center, mean - center
    squares = squared_length(mean)
    base = squares.min(initial=np.inf) if len(squares) else 1.0
    # What all have in common goes to the queries: beside large lengths a trace would lose digits.
    half = (trace + (squares - base)) / 2
    return Terms(query, mean, half, (squared_length(query) + base) / 2 - 1)


def check_numbers(good: Any, kind: str) -> None:
    """Raises ValueError for the first row that is False: `kind` says what it is."""
    if not good.all():
        row, bad = int(np.argmin(good)), int((~good).sum())
        raise ValueError(f"{kind} {row} is not a number ({bad} of {len(good)} such)")


def is_unit(mean: Any) -> bool:
    """Returns True if all means [batch, dim] have length 1, up to the rounding of float32."""
    return bool((np.abs(squared_length(mean) - 1) <= UNIT_TOLERANCE).all())


def squared_length(mean: Any) -> np.ndarray:
    """Squared lengths [batch] of means, in float64."""
    return np.square(np.asarray(mean, np.float64)).sum(-1)
