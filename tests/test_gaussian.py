"""Closed forms against quadrature, Monte Carlo and the paired forms; extremes; gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import stats

import prolip.gaussian as g
from prolip.gaussian import Gaussian

PAIRS = ["csd", "wasserstein2", "kl", "symmetric_kl", "bhattacharyya", "expected_likelihood"]
ALL = [*PAIRS, "similarity", "inclusion"]


def draw(key, n, dim, log_var=-2.0, spread=1.0):
    mean_key, var_key = jax.random.split(key)
    mean = jax.random.normal(mean_key, (n, dim))
    mean /= jnp.linalg.norm(mean, axis=1, keepdims=True)
    return Gaussian(mean, log_var + spread * jax.random.normal(var_key, (n, dim)))


@pytest.fixture
def sides(key):
    a, b = jax.random.split(key)
    return draw(a, 5, 16), draw(b, 7, 16, -1.0)


@pytest.mark.parametrize("name", ALL)
def test_all_pairs_agree_with_paired_rows(name, sides):
    a, b = sides
    pairs = getattr(g, name)(a, b)
    for i in range(5):
        row = Gaussian(*(jnp.repeat(x[i : i + 1], 7, axis=0) for x in a))
        np.testing.assert_allclose(
            pairs[i], getattr(g, f"{name}_paired")(row, b), rtol=1e-5, atol=1e-5
        )


def normal(mean, log_var):
    return stats.norm(mean, np.exp(log_var / 2))


NODES, WEIGHTS = np.polynomial.legendre.leggauss(128)


def integral(f, *gaussians):
    """Gauss-Legendre quadrature, in parts of at most eight deviations of what ends there."""
    edges = np.array(sorted(x for m, v in gaussians for x in (m - 8 * v, m, m + 8 * v)))
    half = np.diff(edges)[:, None] / 2
    return (half * WEIGHTS * f(edges[:-1, None] + half * (1 + NODES))).sum()


@settings(max_examples=25, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-4, 2), st.floats(-4, 2))
def test_one_dimension_against_quadrature(m1, m2, l1, l2):
    p, q = normal(m1, l1), normal(m2, l2)
    places = (m1, np.exp(l1 / 2)), (m2, np.exp(l2 / 2))
    with jax.enable_x64(True):
        a, b = (Gaussian(jnp.array([[m]]), jnp.array([[v]])) for m, v in ((m1, l1), (m2, l2)))
        got = {name: float(getattr(g, name)(a, b)[0, 0]) for name in ALL}
        overlap = float(g.log_overlap(a, b)[0, 0])
    kl = integral(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), *places)
    assert got["kl"] == pytest.approx(kl, abs=1e-8)
    product = integral(lambda x: p.pdf(x) * q.pdf(x), *places)
    assert got["expected_likelihood"] == pytest.approx(np.log(product), abs=1e-8)
    root = integral(lambda x: np.exp((p.logpdf(x) + q.logpdf(x)) / 2), *places)
    assert got["bhattacharyya"] == pytest.approx(-np.log(root), abs=1e-8)
    ppq = integral(lambda x: np.exp(2 * p.logpdf(x) + q.logpdf(x)), *places)
    pqq = integral(lambda x: np.exp(p.logpdf(x) + 2 * q.logpdf(x)), *places)
    assert got["inclusion"] == pytest.approx(np.log(ppq / pqq), abs=1e-7)
    constant = np.log(np.pi) / 2 - 1.5 * np.log(2 * np.pi)
    assert overlap + constant == pytest.approx(np.log(ppq), abs=1e-7)


def test_csd_is_the_expected_squared_distance_of_samples(sides, key):
    a, b = sides
    n = 40_000
    x, y = (
        s.mean[:5, None] + jnp.exp(s.log_var[:5, None] / 2) * jax.random.normal(k, (5, n, 16))
        for s, k in zip((a, b), jax.random.split(key), strict=True)
    )
    squares = ((x - y) ** 2).sum(-1)
    error = squares.std(1) / n**0.5
    closed = g.csd_paired(Gaussian(*(v[:5] for v in a)), Gaussian(*(v[:5] for v in b)))
    assert np.all(np.abs(squares.mean(1) - closed) < 5 * error)


def test_similarity_ranks_as_csd_does(sides):
    a, b = sides
    np.testing.assert_array_equal(
        jnp.argsort(-g.similarity(a, b), axis=1), jnp.argsort(g.csd(a, b), axis=1)
    )


def test_the_narrow_lies_inside_the_wide_around_the_same_mean(key):
    narrow = draw(key, 4, 8, -6.0, 0.1)
    wide = Gaussian(narrow.mean, narrow.log_var + 3)
    assert np.all(g.inclusion_paired(narrow, wide) > 0)
    assert np.all(g.inclusion_paired(wide, narrow) < 0)


@pytest.mark.parametrize("form", ["exact", "released"])
def test_inclusion_is_the_difference_of_the_two_overlaps_and_antisymmetric(sides, form):
    a, b = sides
    both = g.log_overlap(a, b, form=form) - g.log_overlap(b, a, form=form).T
    np.testing.assert_allclose(g.inclusion(a, b, form=form), both, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        g.inclusion(a, b, form=form), -g.inclusion(b, a, form=form).T, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_extreme_variances_give_numbers_and_gradients(name, dtype, key):
    mean = draw(key, 4, 8).mean.astype(dtype)
    levels = jnp.array([-30.0, -10.0, 0.0, 10.0])
    a = Gaussian(mean, jnp.repeat(levels[:, None], 8, axis=1).astype(dtype))
    b = Gaussian(mean[::-1], a.log_var)

    def total(a, b):
        return getattr(g, name)(a, b).sum()

    value, grads = jax.value_and_grad(total, argnums=(0, 1))(a, b)
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(np.asarray(x, np.float32))) for x in jax.tree.leaves(grads))


@pytest.mark.parametrize("name", ALL)
def test_gradients_against_finite_differences(name, key):
    with jax.enable_x64(True):
        a, b = (
            Gaussian(*(jnp.asarray(x, jnp.float64) for x in draw(k, 3, 4)))
            for k in jax.random.split(key)
        )

        def total(a, b):
            a, b = jax.tree.map(jnp.asarray, (a, b))
            return (getattr(g, name)(a, b) * jnp.arange(1.0, 10).reshape(3, 3)).sum()

        check_grads(total, (a, b), order=1, modes=["rev"], eps=1e-6, rtol=1e-5)


def total_of(compare, a, b):
    return compare(a, b).sum()


def test_no_pairwise_form_builds_an_array_with_all_dimensions(key):
    n, dim = 64, 32
    a = draw(key, n, dim)
    for name in ALL:
        compare = getattr(g, name)
        for f in (compare, jax.grad(functools.partial(total_of, compare), argnums=(0, 1))):
            memory = jax.jit(f).lower(a, a).compile().memory_analysis()
            # A handful of [N, N] blocks and [N, D] inputs; one [N, N, D] array alone is 512 KiB.
            assert memory.temp_size_in_bytes < n * n * dim * 4 / 2, name


def test_zero_variance_is_a_point(key):
    point = Gaussian(draw(key, 3, 8).mean, jnp.full((3, 8), -jnp.inf))
    np.testing.assert_array_equal(point.uncertainty, 0)
    np.testing.assert_allclose(g.similarity(point, point), point.mean @ point.mean.T, atol=1e-6)
    np.testing.assert_allclose(jnp.diag(g.csd(point, point)), 0, atol=1e-6)


POINT, OTHER, WIDE = range(3)
INF = np.inf


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("csd", [0, 1, 2, 2]),
        ("wasserstein2", [0, 1, 2, 2]),
        ("kl", [0, INF, INF, INF]),
        ("symmetric_kl", [0, INF, INF, INF]),
        ("bhattacharyya", [0, INF, INF, INF]),
        ("expected_likelihood", [INF, -INF, -np.log(2 * np.pi), -np.log(2 * np.pi)]),
        ("inclusion", [0, 0, INF, -INF]),
    ],
)
def test_comparisons_with_points_have_their_limits(name, expected):
    """A point at (0, 0), one at (0, 1), and a Gaussian at (0, 0) of variance 1."""
    mean = jnp.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    given = Gaussian(mean, jnp.array([[-INF] * 2, [-INF] * 2, [0.0, 0.0]]))
    rows, columns = jnp.array([POINT, POINT, POINT, WIDE]), jnp.array([POINT, OTHER, WIDE, POINT])
    pairs = getattr(g, name)(given, given)[rows, columns]
    a, b = (Gaussian(*(x[i] for x in given)) for i in (rows, columns))
    paired = getattr(g, f"{name}_paired")(a, b)
    for found in (pairs, paired):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_overlap_with_a_point_is_a_density():
    mean, log_var = jnp.zeros((3, 1)).at[1].set(1.0), jnp.array([[-INF], [-INF], [0.3]])
    given = Gaussian(mean, log_var)
    overlap = g.log_overlap(given, given)
    assert overlap[POINT, OTHER] == -INF and overlap[POINT, WIDE] == INF
    density = stats.norm(0, np.exp(0.15)).logpdf(1.0)
    constant = np.log(np.pi) / 2 - 1.5 * np.log(2 * np.pi)
    assert overlap[WIDE, OTHER] + constant == pytest.approx(2 * density, abs=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_variances_below_float32_give_no_nan(name):
    levels = jnp.repeat(jnp.array([-90.0, -200.0, -1e4, 0.0]), 2)[:, None]
    mean = jnp.tile(jnp.array([[0.6, 0.8], [1.0, 0.0]]), (4, 1))
    given = Gaussian(mean, jnp.broadcast_to(levels, (8, 2)))
    found = getattr(g, name)(given, given)
    assert not np.isnan(found).any()
    if name not in ("csd", "similarity", "expected_likelihood"):
        np.testing.assert_allclose(jnp.diag(found), 0, atol=1e-5)


def test_wasserstein2_of_neighbours_equals_float64(key):
    """Traces of 10 and distances of 1e-7: what is left of sums in float32 would be rounding."""
    a = draw(key, 6, 32, log_var=-1.0)
    b = Gaussian(a.mean + 1e-5, a.log_var + 1e-4)
    wide = [np.asarray(x, np.float64) for x in (a.mean, b.mean, a.log_var, b.log_var)]
    mean_a, mean_b, deviation_a, deviation_b = *wide[:2], *(np.exp(x / 2) for x in wide[2:])
    expected = ((mean_a[:, None] - mean_b) ** 2 + (deviation_a[:, None] - deviation_b) ** 2).sum(-1)
    np.testing.assert_allclose(g.wasserstein2(a, b), expected, rtol=1e-2)
    assert expected.min() < 1e-6
