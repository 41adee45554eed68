"""What a collection is ordered by: in float32 with a bound on its error, and in float64.

The float32 scores of a whole block decide which few rows can be among the best; the float64 scores
of those decide. So a ranking is that of float64, whatever the block size, the device and the order
in which a matrix product sums.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from prolip.gaussian import LN_2, Gaussian
from prolip.retrieval.vectors import Block

By = Literal["csd", "mean", "inclusion"]
Direction = Literal["item-in-query", "query-in-item"]
LONGEST = 1.01  # A stored mean has unit length, up to the rounding of float16.
EPS = 2.0**-23  # Twice the unit roundoff of float32.
# Beyond, variances come near the ends of float32; such rows are left to float64.
MAX_LOG_VAR = 60.0
# Rows at a time, where something as large as them is made that has to stay in the cache.
INCLUSION_ROWS = 1024
WIDENED_ROWS = 512


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What is best.

    `csd`: mean product minus half the item's uncertainty, `prolip.similarity`; for means of unit
    length the order of the sampled distance. `mean`: mean product. `inclusion`: log ratio of the
    inclusion test, `prolip.inclusion`.
    """

    by: By = "csd"
    direction: Direction = "item-in-query"  # Of the inclusion test.
    inside: bool = False  # Only items whose inclusion test is greater than zero.

    @property
    def needs_log_var(self) -> bool:
        """Whether the items' uncertainties alone don't do."""
        return self.by == "inclusion" or self.inside

    @property
    def sign(self) -> int:
        """Of `inclusion(item, query)`; the test of the query in the item is its negative."""
        return 1 if self.direction == "item-in-query" else -1


class Bounds(NamedTuple):
    """Between these the exact scores are; minus infinity for what can't be a hit."""

    lower: jax.Array  # Float32[queries rows]
    upper: jax.Array  # Float32[queries rows]


def bounds(
    ranking: Ranking,
    queries: Gaussian,
    mean: Float[Array, "rows dim"],
    log_var: Float[Array, "rows dim"] | None,
    uncertainty: Float[Array, " rows"],
) -> Bounds:
    """Float32 bounds of the scores of all pairs; `mean` and `log_var` may be of half precision."""
    test = functools.partial(_inclusion, ranking.sign, queries, mean, log_var)
    if ranking.by == "inclusion":
        scores = test()
    else:
        half = uncertainty / 2 if ranking.by == "csd" else jnp.zeros_like(uncertainty)
        scores = _product(queries.mean, mean, half)
    if not ranking.inside:
        return scores
    ratio = scores if ranking.by == "inclusion" else test()
    return Bounds(*(jnp.where(r > 0, s, -jnp.inf) for r, s in zip(ratio, scores, strict=True)))


def exact(ranking: Ranking, queries: Gaussian, items: Block) -> np.ndarray:
    """Float64 [pairs]: the score of query i with item i; the same for equal items anywhere."""
    if ranking.by == "inclusion":
        score = ranking.sign * inclusion_of_pairs(queries, items)
    else:
        # Not a matrix product: its sums depend on where in the matrix a row is.
        score = (_float64(queries.mean) * _float64(items.mean)).sum(-1)
        if ranking.by == "csd":
            score = score - _float64(items.uncertainty) / 2
    if not ranking.inside:
        return score
    return np.where(ranking.sign * inclusion_of_pairs(queries, items) > 0, score, -np.inf)


def inclusion_of_pairs(queries: Gaussian, items: Block) -> np.ndarray:
    """Float64 [pairs]: `prolip.inclusion` of item i in query i."""
    mean, log_var = _float64(items.mean), _float64(items.log_var)
    query_mean, query_log_var = _float64(queries.mean), _float64(queries.log_var)
    t = query_log_var - log_var
    curvature = np.logaddexp(LN_2, -t) - np.logaddexp(0.0, LN_2 - t)
    weight = np.exp(-np.logaddexp(log_var, query_log_var + LN_2)) - np.exp(
        -np.logaddexp(query_log_var, log_var + LN_2)
    )
    return (t / 2 - curvature / 2 - (mean - query_mean) ** 2 * weight).sum(-1)


def csd_of_pairs(queries: Gaussian, items: Block) -> np.ndarray:
    """Float64 [pairs]: `prolip.csd` of query i with item i."""
    distance = ((_float64(queries.mean) - _float64(items.mean)) ** 2).sum(-1)
    own = np.exp(_float64(queries.log_var)).sum(-1)
    return distance + own + _float64(items.uncertainty)


def _product(
    queries: Float[Array, "queries dim"], mean: Float[Array, "rows dim"], half: Array
) -> Bounds:
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


def _inclusion(sign: int, queries: Gaussian, mean: Array, log_var: Array | None) -> Bounds:
    """The inclusion test, with variances in the place of their logs.

    One logarithm of a dimension is left, where `gaussian.inclusion_terms` has ten transcendental
    functions; what that loses is in the bound.
    """
    assert log_var is not None
    rows, dim = mean.shape
    chunk = _power_of_two_divisor(rows, INCLUSION_ROWS)
    ones = jnp.ones(dim)

    def of_rows(item: tuple[Array, Array]) -> Bounds:
        item_mean, item_log_var = map(_float32, item)
        variance = jnp.exp(jnp.clip(item_log_var, -MAX_LOG_VAR, MAX_LOG_VAR))

        def of_query(query: tuple[Array, Array]) -> Bounds:
            query_mean, query_log_var = (x[None, :] for x in query)
            query_variance = jnp.exp(jnp.clip(query_log_var, -MAX_LOG_VAR, MAX_LOG_VAR))
            a, b = variance + 2 * query_variance, query_variance + 2 * variance
            square = (item_mean - query_mean) ** 2
            first, second, half = square / a, square / b, (query_log_var - item_log_var) / 2
            terms = half - jnp.log(a / b) / 2 - (first - second)
            size = jnp.abs(half) + first + second + 1
            # A sum by a matrix product is several times faster on CPUs than `sum`.
            total, sizes = (
                jnp.matmul(x, ones, precision=jax.lax.Precision.HIGHEST) for x in (terms, size)
            )
            # n u for the sum, and 32 u for the rounding of each term before it.
            error = (dim + 64) * EPS * sizes
            extreme = jnp.maximum(jnp.abs(item_log_var), jnp.abs(query_log_var)).max(-1)
            error = jnp.where(extreme > MAX_LOG_VAR, jnp.inf, error)
            return Bounds(sign * total - error, sign * total + error)

        return jax.lax.map(of_query, (queries.mean, queries.log_var))

    parts = jax.lax.map(
        of_rows, (mean.reshape(-1, chunk, dim), log_var.reshape(-1, chunk, dim))
    )  # [chunks queries chunk]
    return Bounds(*(x.swapaxes(0, 1).reshape(-1, rows) for x in parts))


def _power_of_two_divisor(number: int, most: int) -> int:
    return min(number & -number, most)


def _float32(x: Array) -> Array:
    return x.astype(jnp.float32)


def _float64(x: np.ndarray | jax.Array | None) -> np.ndarray:
    return np.asarray(x, np.float64)
