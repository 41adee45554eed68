"""Diagonal Gaussian embeddings and the closed forms that compare them.

Every comparison comes in two forms: `f(a, b)` compares all pairs and gives [N, M]; `f_paired(a, b)`
compares row i with row i and gives [N]. None of them builds an [N, M, D] array: what separates into
row sums is one matrix product, what doesn't is accumulated one dimension at a time.

Computation is in float32 at least: bfloat16 embeddings are widened first, float64 stays.

A log-variance of minus infinity is a point. Where a comparison has a limit as the variance goes to
zero, that is its value, which may be infinite. Two equal points are at distance zero, neither of
two points includes the other, and one dimension in which they differ makes their overlap zero.

Longer than most files here, as each comparison has its two forms beside each other.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

LN_2 = 0.6931471805599453

# A comparison of one dimension: (mean, log_var) of one side, then of the other, any shape.
Term = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


class Gaussian(NamedTuple):
    """Diagonal Gaussian embeddings."""

    mean: jax.Array  # Float[batch dim], unit length.
    log_var: jax.Array  # Float[batch dim], log of the variance.

    @property
    def variance(self) -> jax.Array:
        """Variances, shape [batch, dim]."""
        return jnp.exp(self.log_var)

    @property
    def uncertainty(self) -> jax.Array:
        """Trace of the covariance, shape [batch]: the sum of the variances."""
        return jnp.exp(_wide(self.log_var)).sum(-1)


def similarity(a: Gaussian, b: Gaussian) -> Float[Array, "n m"]:
    """Mean product minus half the trace of the target `b`: the order in which `a` ranks `b`.

    For means of unit length, as the models here give them, it differs from minus half the sampled
    distance by a constant of each row only (arXiv 2410.18857, zero-shot retrieval). It favours long
    means where lengths differ: rank those by `-csd(a, b)`.
    """
    return _product(a.mean, b.mean) - b.uncertainty[None, :] / 2


def similarity_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`similarity` of row i with row i."""
    return (_wide(a.mean) * _wide(b.mean)).sum(-1) - b.uncertainty / 2


def csd(a: Gaussian, b: Gaussian) -> Float[Array, "n m"]:
    """Closed-form sampled distance: E|x - y|^2 = |mean difference|^2 + both traces.

    Source: PCME++, arXiv 2305.18171, equation 1.
    """
    squares = _square(a.mean)[:, None] + _square(b.mean)[None, :]
    distance = jnp.maximum(squares - 2 * _product(a.mean, b.mean), 0)
    return distance + a.uncertainty[:, None] + b.uncertainty[None, :]


def csd_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`csd` of row i with row i."""
    return _square(_wide(a.mean) - _wide(b.mean)) + a.uncertainty + b.uncertainty


def wasserstein2(a: Gaussian, b: Gaussian) -> Float[Array, "n m"]:
    """Squared 2-Wasserstein distance: |mean difference|^2 + |difference of deviations|^2."""
    # Differences before squares: traces that nearly cancel would leave their rounding alone.
    first, second = (Gaussian(x.mean, _deviation(x)) for x in (a, b))
    return _pairs(lambda m, s, n, t: (m - n) ** 2 + (s - t) ** 2, first, second)


def wasserstein2_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`wasserstein2` of row i with row i."""
    return _square(_wide(a.mean) - _wide(b.mean)) + _square(_deviation(a) - _deviation(b))


def kl(a: Gaussian, b: Gaussian) -> Float[Array, "n m"]:
    """Kullback-Leibler divergence KL(a || b), in nats."""
    return _pairs(_kl, a, b)


def kl_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`kl` of row i with row i."""
    return _rows(_kl, a, b)


def symmetric_kl(a: Gaussian, b: Gaussian) -> Float[Array, "n m"]:
    """Half of KL(a || b) + KL(b || a), in nats."""
    return _pairs(_symmetric_kl, a, b)


def symmetric_kl_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`symmetric_kl` of row i with row i."""
    return _rows(_symmetric_kl, a, b)


def bhattacharyya(a: Gaussian, b: Gaussian) -> Float[Array, "n m"]:
    """Bhattacharyya distance: minus the log of the integral of sqrt(p_a p_b)."""
    return _pairs(_bhattacharyya, a, b)


def bhattacharyya_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`bhattacharyya` of row i with row i."""
    return _rows(_bhattacharyya, a, b)


def expected_likelihood(a: Gaussian, b: Gaussian) -> Float[Array, "n m"]:
    """Log of the expected likelihood kernel: log of the integral of p_a p_b."""
    return _pairs(_expected_likelihood, a, b, densities=True)


def expected_likelihood_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`expected_likelihood` of row i with row i."""
    return _rows(_expected_likelihood, a, b, densities=True)


def inclusion(
    a: Gaussian, b: Gaussian, eps: float = 0.0, form: Literal["exact", "released"] = "exact"
) -> Float[Array, "n m"]:
    """Inclusion test: log of (integral of p_a^2 p_b / integral of p_a p_b^2), in nats.

    Greater than zero where the row `a` lies inside the column `b`.

    Args:
      a: N Gaussians, those that may be inside.
      b: M Gaussians, those that may include.
      eps: both precisions are multiplied by exp(eps), which weakens the part of the means.
      form: "released" doubles the normalisers as naver-ai/prolip `src/prolip/loss.py` does.

    Source: ProLIP, arXiv 2410.18857, section 3.3.
    """
    return _pairs(lambda *x: inclusion_terms(*x, eps=eps, form=form), a, b)


def inclusion_paired(
    a: Gaussian, b: Gaussian, eps: float = 0.0, form: Literal["exact", "released"] = "exact"
) -> Float[Array, " n"]:
    """`inclusion` of row i in row i."""
    return _rows(lambda *x: inclusion_terms(*x, eps=eps, form=form), a, b)


def inclusion_terms(
    mean_a: jax.Array,
    log_var_a: jax.Array,
    mean_b: jax.Array,
    log_var_b: jax.Array,
    *,
    eps: float = 0.0,
    form: Literal["exact", "released"] = "exact",
) -> jax.Array:
    """The inclusion test of each dimension by itself; broadcasts.

    Written with differences of log variances, so that neither a precision nor its denormal is ever
    formed: with t = log_var_b - log_var_a, the logs of the two curvatures differ by
    log(2 + e^-t) - log(1 + 2 e^-t), and b^2/4a - c = -(mean difference)^2 / (var_a + 2 var_b).
    """
    mean_a, log_var_a, mean_b, log_var_b = map(_wide, (mean_a, log_var_a, mean_b, log_var_b))
    log_var_a, log_var_b = _unless_points(log_var_a, log_var_b)
    t = log_var_b - log_var_a
    near = jnp.clip(t, -40, 40)  # Beyond, the curvatures differ by log(2) or its negative.
    curvature = jnp.logaddexp(LN_2, -near) - jnp.logaddexp(0.0, LN_2 - near)
    normaliser = t / 2 if form == "exact" else t
    log_a = jnp.logaddexp(log_var_a, log_var_b + LN_2)
    log_b = jnp.logaddexp(log_var_b, log_var_a + LN_2)
    weight = -_exp(eps - log_a) * jnp.expm1(log_a - log_b)
    return normaliser - curvature / 2 - (mean_a - mean_b) ** 2 * weight


def log_overlap(
    a: Gaussian, b: Gaussian, eps: float = 0.0, form: Literal["exact", "released"] = "exact"
) -> Float[Array, "n m"]:
    """One side of the inclusion test: log of the integral of p_a^2 p_b, without its constant.

    `inclusion(a, b) = log_overlap(a, b) - log_overlap(b, a).T`. The constant left out of the exact
    form is D (log(pi) / 2 - 3/2 log(2 pi)). `released` has -2 log_var_a - log_var_b in the place of
    -log_var_a - log_var_b / 2 (naver-ai/prolip `src/prolip/loss.py`, `inclusion_test`).
    """
    return _pairs(lambda *x: log_overlap_terms(*x, eps=eps, form=form), a, b, densities=True)


def log_overlap_terms(
    mean_a: jax.Array,
    log_var_a: jax.Array,
    mean_b: jax.Array,
    log_var_b: jax.Array,
    *,
    eps: float = 0.0,
    form: Literal["exact", "released"] = "exact",
) -> jax.Array:
    """`log_overlap` of each dimension by itself; broadcasts."""
    mean_a, log_var_a, mean_b, log_var_b = map(_wide, (mean_a, log_var_a, mean_b, log_var_b))
    # The log of the curvature is this less log_var_a and log_var_b, which the normaliser has too.
    curvature = eps + jnp.logaddexp(log_var_b, log_var_a - LN_2)
    normaliser = -log_var_a / 2
    if form == "released":
        normaliser = normaliser - log_var_a - log_var_b / 2
    log_sum = jnp.logaddexp(log_var_a, log_var_b + LN_2)
    squares = _mahalanobis(mean_a - mean_b, log_sum - eps)
    return jnp.where(jnp.isposinf(squares), -jnp.inf, normaliser - curvature / 2 - squares)


def _kl(mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array):
    squares = _mahalanobis(mean_a - mean_b, log_var_b)
    log_var_a, log_var_b = _unless_points(log_var_a, log_var_b)
    t = jnp.minimum(log_var_a - log_var_b, 1e4)  # Infinity less infinity is no number.
    return (jnp.expm1(t) - t + squares) / 2


def _symmetric_kl(mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array):
    forth = _kl(mean_a, log_var_a, mean_b, log_var_b)
    return (forth + _kl(mean_b, log_var_b, mean_a, log_var_a)) / 2


def _bhattacharyya(
    mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array
):
    distance = _mahalanobis(mean_a - mean_b, jnp.logaddexp(log_var_a, log_var_b))
    a, b = _unless_points(log_var_a, log_var_b)
    return distance / 4 + (jnp.logaddexp(a, b) - LN_2 - (a + b) / 2) / 2


def _expected_likelihood(
    mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array
):
    log_sum = jnp.logaddexp(log_var_a, log_var_b)
    squares = _mahalanobis(mean_a - mean_b, log_sum)
    found = -(jnp.log(2 * jnp.pi) + log_sum + squares) / 2
    return jnp.where(jnp.isposinf(squares), -jnp.inf, found)


def _unless_points(log_var_a: jax.Array, log_var_b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log-variances, made equal and finite where both are minus infinity."""
    points = jnp.isneginf(log_var_a) & jnp.isneginf(log_var_b)
    return jnp.where(points, 0, log_var_a), jnp.where(points, 0, log_var_b)


def _mahalanobis(difference: jax.Array, log_var: jax.Array) -> jax.Array:
    """Squared difference over the variance; 0 for no difference, infinity for any of a point."""
    squares = (difference * _exp(-log_var / 2)) ** 2
    return jnp.where(jnp.isneginf(log_var) & (difference != 0), jnp.inf, squares)


def _exp(x: jax.Array) -> jax.Array:
    """Exponential that stays finite, so that nothing times it is nothing."""
    return jnp.exp(jnp.minimum(x, 0.9 * jnp.log(jnp.finfo(x.dtype).max)))


def _rows(term: Term, a: Gaussian, b: Gaussian, densities: bool = False) -> jax.Array:
    terms = term(_wide(a.mean), _wide(a.log_var), _wide(b.mean), _wide(b.log_var))
    zero = jnp.isneginf(terms).any(-1) & densities
    return jnp.where(zero, -jnp.inf, terms.sum(-1))


def _pairs(term: Term, a: Gaussian, b: Gaussian, densities: bool = False) -> jax.Array:
    """Sums `term` over dimensions for all pairs, with one [N, M] array alive at a time.

    Of logs of `densities`, one of zero makes the product zero, whatever the others are.
    """
    sides = [_wide(x).T for x in (a.mean, a.log_var, b.mean, b.log_var)]

    # Recomputed in the backward pass: keeping each dimension's block would be [D, N, M].
    @jax.checkpoint
    def one(mean_a, log_var_a, mean_b, log_var_b):
        return term(mean_a[:, None], log_var_a[:, None], mean_b[None, :], log_var_b[None, :])

    def add(total, x):
        new = one(*x)
        zero = (jnp.isneginf(total) | jnp.isneginf(new)) if densities else False
        return jnp.where(zero, -jnp.inf, total + new), None

    total, _ = jax.lax.scan(
        add,
        one(*(x[0] for x in sides)),
        [x[1:] for x in sides],
    )
    return total


def _product(a: ArrayLike, b: ArrayLike) -> jax.Array:
    # Half-precision products would move a logit at scale 100 by several tenths.
    return jnp.matmul(_wide(a), _wide(b).T, precision=jax.lax.Precision.HIGHEST)


def _deviation(x: Gaussian) -> jax.Array:
    return jnp.exp(_wide(x.log_var) / 2)


def _square(x: ArrayLike) -> jax.Array:
    return (_wide(x) ** 2).sum(-1)


def _wide(x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
