"""Diagonal Gaussian embeddings and the closed forms that compare them.

Every comparison comes in two forms: `f(a, b)` compares all pairs and gives [N, M]; `f_paired(a, b)`
compares row i with row i and gives [N]. None of them builds an [N, M, D] array: what separates into
row sums is one matrix product, what doesn't is accumulated one dimension at a time.

Computation is in float32 at least: bfloat16 embeddings are widened first, float64 stays.
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

    It differs from minus half the sampled distance by a constant of each row only (arXiv
    2410.18857, zero-shot retrieval).
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
    deviations = _product(jnp.exp(_wide(a.log_var) / 2), jnp.exp(_wide(b.log_var) / 2))
    return jnp.maximum(csd(a, b) - 2 * deviations, 0)


def wasserstein2_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`wasserstein2` of row i with row i."""
    deviation = jnp.exp(_wide(a.log_var) / 2) - jnp.exp(_wide(b.log_var) / 2)
    return _square(_wide(a.mean) - _wide(b.mean)) + _square(deviation)


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
    return _pairs(_expected_likelihood, a, b)


def expected_likelihood_paired(a: Gaussian, b: Gaussian) -> Float[Array, " n"]:
    """`expected_likelihood` of row i with row i."""
    return _rows(_expected_likelihood, a, b)


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
    t = log_var_b - log_var_a
    curvature = jnp.logaddexp(LN_2, -t) - jnp.logaddexp(0.0, LN_2 - t)
    normaliser = t / 2 if form == "exact" else t
    weight = jnp.exp(eps - jnp.logaddexp(log_var_a, log_var_b + LN_2)) - jnp.exp(
        eps - jnp.logaddexp(log_var_b, log_var_a + LN_2)
    )
    return normaliser - curvature / 2 - (mean_a - mean_b) ** 2 * weight


def log_overlap(
    a: Gaussian, b: Gaussian, eps: float = 0.0, form: Literal["exact", "released"] = "exact"
) -> Float[Array, "n m"]:
    """One side of the inclusion test: log of the integral of p_a^2 p_b, without its constant.

    `inclusion(a, b) = log_overlap(a, b) - log_overlap(b, a).T`. The constant left out of the exact
    form is D (log(pi) / 2 - 3/2 log(2 pi)). `released` has -2 log_var_a - log_var_b in the place of
    -log_var_a - log_var_b / 2 (naver-ai/prolip `src/prolip/loss.py`, `inclusion_test`).
    """
    return _pairs(lambda *x: log_overlap_terms(*x, eps=eps, form=form), a, b)


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
    normaliser = -log_var_a - log_var_b / 2
    if form == "released":
        normaliser = 2 * normaliser
    curvature = eps + jnp.logaddexp(-log_var_a, -log_var_b - LN_2)
    weight = jnp.exp(eps - jnp.logaddexp(log_var_a, log_var_b + LN_2))
    return normaliser - curvature / 2 - (mean_a - mean_b) ** 2 * weight


def _kl(mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array):
    t = log_var_a - log_var_b
    return (jnp.expm1(t) - t + (mean_a - mean_b) ** 2 * jnp.exp(-log_var_b)) / 2


def _symmetric_kl(mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array):
    forth = _kl(mean_a, log_var_a, mean_b, log_var_b)
    return (forth + _kl(mean_b, log_var_b, mean_a, log_var_a)) / 2


def _bhattacharyya(
    mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array
):
    log_sum = jnp.logaddexp(log_var_a, log_var_b)
    distance = (mean_a - mean_b) ** 2 * jnp.exp(-log_sum)
    return distance / 4 + (log_sum - LN_2 - (log_var_a + log_var_b) / 2) / 2


def _expected_likelihood(
    mean_a: jax.Array, log_var_a: jax.Array, mean_b: jax.Array, log_var_b: jax.Array
):
    log_sum = jnp.logaddexp(log_var_a, log_var_b)
    return -(jnp.log(2 * jnp.pi) + log_sum + (mean_a - mean_b) ** 2 * jnp.exp(-log_sum)) / 2


def _rows(term: Term, a: Gaussian, b: Gaussian) -> jax.Array:
    return term(_wide(a.mean), _wide(a.log_var), _wide(b.mean), _wide(b.log_var)).sum(-1)


def _pairs(term: Term, a: Gaussian, b: Gaussian) -> jax.Array:
    """Sums `term` over dimensions for all pairs, with one [N, M] array alive at a time."""
    sides = [_wide(x).T for x in (a.mean, a.log_var, b.mean, b.log_var)]

    # Recomputed in the backward pass: keeping each dimension's block would be [D, N, M].
    @jax.checkpoint
    def one(mean_a, log_var_a, mean_b, log_var_b):
        return term(mean_a[:, None], log_var_a[:, None], mean_b[None, :], log_var_b[None, :])

    total, _ = jax.lax.scan(
        lambda total, x: (total + one(*x), None),
        one(*(x[0] for x in sides)),
        [x[1:] for x in sides],
    )
    return total


def _product(a: ArrayLike, b: ArrayLike) -> jax.Array:
    # Half-precision products would move a logit at scale 100 by several tenths.
    return jnp.matmul(_wide(a), _wide(b).T, precision=jax.lax.Precision.HIGHEST)


def _square(x: ArrayLike) -> jax.Array:
    return (_wide(x) ** 2).sum(-1)


def _wide(x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
