"""What a collection is ordered by: in float32 with a bound on its error, and in float64.

The float32 scores of a whole block decide which few rows can be among the best; the float64 scores
of those decide. So a ranking is that of float64, whatever the block size, the device and the order
in which a matrix product sums.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from prolip.gaussian import Gaussian
from prolip.retrieval.vectors import Block

# Best first. "csd": mean product minus half the item's uncertainty, `prolip.similarity`; for means
# of unit length the order of the sampled distance. "mean": mean product.
By = Literal["csd", "mean"]
# For those who ask for what there was.
NO_INCLUSION = (
    "Searching by the inclusion test was taken away: it tells which of two items is wider, not "
    "what matches. Of the demonstration's images it let 90 % of the wrong ones pass and lost 8 % "
    "of the right ones, and no other form of it ranks better than similarity "
    "(results/inclusion.md). To leave out items that are too wide, limit their uncertainty."
)
LONGEST = 1.01  # A stored mean has unit length, up to the rounding of float16.
EPS = 2.0**-23  # Twice the unit roundoff of float32.
# Rows at a time, where something as large as them is made that has to stay in the cache.
WIDENED_ROWS = 512


class Bounds(NamedTuple):
    """Between these the exact scores are; minus infinity for what can't be a hit."""

    lower: jax.Array  # Float32[queries rows]
    upper: jax.Array  # Float32[queries rows]


def bounds(
    by: By,
    queries: Float[Array, "queries dim"],
    mean: Float[Array, "rows dim"],
    uncertainty: Float[Array, " rows"],
) -> Bounds:
    """Float32 bounds of the scores of all pairs of means; `mean` may be of half precision."""
    half = uncertainty / 2 if by == "csd" else jnp.zeros_like(uncertainty)
    rows, dim = mean.shape
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    if mean.dtype == jnp.float32:
        score = product(queries, mean.T) - half[None, :]
    else:
        pieces = mean.reshape(-1, _power_of_two_divisor(rows, WIDENED_ROWS), dim)
        parts = jax.lax.map(lambda piece: product(queries, _float32(piece).T), pieces)
        score = parts.swapaxes(0, 1).reshape(-1, rows) - half[None, :]
    length = jnp.linalg.norm(queries, axis=-1)[:, None]
    # A sum of n products is off by at most n u |a| |b| in any order (Higham 2002, section 3.1).
    error = (dim + 8) * EPS * LONGEST * length + EPS * half[None, :]
    return Bounds(score - error, score + error)


def exact(by: By, queries: Gaussian, items: Block) -> np.ndarray:
    """Float64 [pairs]: the score of query i with item i; the same for equal items anywhere."""
    # Not a matrix product: its sums depend on where in the matrix a row is.
    score = (_float64(queries.mean) * _float64(items.mean)).sum(-1)
    return score - _float64(items.uncertainty) / 2 if by == "csd" else score


def csd_of_pairs(queries: Gaussian, items: Block) -> np.ndarray:
    """Float64 [pairs]: `prolip.csd` of query i with item i."""
    distance = ((_float64(queries.mean) - _float64(items.mean)) ** 2).sum(-1)
    own = np.exp(_float64(queries.log_var)).sum(-1)
    return distance + own + _float64(items.uncertainty)


def _power_of_two_divisor(number: int, most: int) -> int:
    return min(number & -number, most)


def _float32(x: Array) -> Array:
    return x.astype(jnp.float32)


def _float64(x: np.ndarray | jax.Array | None) -> np.ndarray:
    return np.asarray(x, np.float64)
