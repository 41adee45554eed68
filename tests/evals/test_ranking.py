"""Rankings on devices against a stable sort on the host, on any number of devices."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prolip.evals import ranking
from prolip.gaussian import Gaussian


def whole_numbers(rng, count, dim=6, low=-2, high=3):
    """Distances and traces are exact in float32, and many tie; no mean has length 1 by design."""
    mean = rng.integers(low, high, (count, dim)).astype(np.float32)
    log_var = np.log(rng.integers(1, 3, (count, dim)) * 2.0)
    return Gaussian(mean, log_var.astype(np.float32))


def obvious(queries, gallery, positives, mean_only):
    """Best targets and rank of the best positive, one query at a time."""
    trace = np.round(np.exp(gallery.log_var.astype(np.float64)).sum(1))
    squares = ((queries.mean[:, None] - gallery.mean[None]).astype(np.float64) ** 2).sum(-1)
    scores = 1 - (squares + (0 if mean_only else trace)) / 2
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = [
        1 + min((row.tolist().index(t) for t in own if t < len(row)), default=-1)
        for row, own in zip(order, positives, strict=True)
    ]
    return order, ranks, np.take_along_axis(scores, order[:, :1], 1)[:, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(9, 12), (20, 33)]), st.booleans())
def test_equals_a_stable_sort_with_ties_and_queries_without_positives(seed, sizes, mean_only):
    rng = np.random.default_rng(seed)
    queries, gallery = (whole_numbers(rng, n) for n in sizes)
    # One target beyond the gallery: it is passed over.
    positives = [np.unique(rng.integers(0, sizes[1] + 1, rng.integers(0, 4))) for _ in queries.mean]
    order, ranks, best = obvious(queries, gallery, positives, mean_only)
    parts = list(
        ranking.ranked_blocks(queries, gallery, positives, at_least=4, mean_only=mean_only, block=8)
    )
    assert [part.rows.start for part in parts] == list(range(0, sizes[0], 8))
    found = np.concatenate([part.order[:, :4] for part in parts])
    np.testing.assert_array_equal(found, order[:, :4])
    assert np.concatenate([part.best_rank for part in parts]).tolist() == ranks
    np.testing.assert_allclose(np.concatenate([p.best_score for p in parts]), best, atol=1e-4)


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
def test_the_number_of_devices_does_not_matter(rng, monkeypatch, devices):
    queries, gallery = whole_numbers(rng, 21), whole_numbers(rng, 30)
    positives = [rng.choice(30, 3, replace=False) for _ in range(21)]
    order, ranks, _ = obvious(queries, gallery, positives, False)
    chosen = jax.local_devices()[:devices]
    monkeypatch.setattr(ranking.jax, "local_devices", lambda: chosen)
    parts = list(ranking.ranked_blocks(queries, gallery, positives, at_least=30, block=10))
    np.testing.assert_array_equal(np.concatenate([p.order for p in parts]), order)
    assert np.concatenate([p.best_rank for p in parts]).tolist() == ranks


def test_the_mesh_of_a_caller_does_not_matter(rng):
    queries, gallery = whole_numbers(rng, 5), whole_numbers(rng, 7)
    positives = [np.array([i]) for i in range(5)]
    expected = next(ranking.ranked_blocks(queries, gallery, positives))
    with jax.set_mesh(jax.make_mesh((2, 4), ("a", "b"))):
        found = next(ranking.ranked_blocks(queries, gallery, positives))
    np.testing.assert_array_equal(found.order, expected.order)


def test_copies_of_an_item_tie_whatever_the_rounding(rng):
    # 97 dimensions and odd sizes: the last columns of a product are summed otherwise than the rest.
    base = rng.normal(size=(5, 97)).astype(np.float32)
    gallery = Gaussian(np.tile(base, (29, 1)), np.zeros((145, 97), np.float32))
    queries = Gaussian(rng.normal(size=(17, 97)).astype(np.float32), np.zeros((17, 97), np.float32))
    part = next(ranking.ranked_blocks(queries, gallery, [[]] * 17, at_least=145))
    for row in part.order:
        groups = row.reshape(5, 29)
        assert (groups % 5 == groups[:, :1] % 5).all() and (np.diff(groups) > 0).all()


def test_zeros_of_both_signs_tie():
    mean = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    gallery = Gaussian(mean, np.full((3, 2), -np.inf))
    queries = Gaussian(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32))
    part = next(ranking.ranked_blocks(queries, gallery, [np.array([2])], at_least=3))
    assert part.order.tolist() == [[0, 1, 2]] and part.best_rank.tolist() == [3]


@pytest.mark.parametrize(("offset", "spread"), [(0.0, 3.0), (0.5, 0.3), (100.0, 0.1)])
def test_means_of_any_length_are_ranked_by_the_float64_csd(rng, offset, spread):
    """Long means would win by their product alone."""

    def some(count, dim=16):
        mean = offset + spread * rng.normal(size=(count, dim)) * rng.uniform(0.2, 3, (count, 1))
        log_var = rng.normal(2 * np.log(spread) - 1, 1, (count, dim))
        return Gaussian(mean.astype(np.float32), log_var.astype(np.float32))

    queries, gallery = some(40), some(60)
    mean, log_var = (np.asarray(x, np.float64) for x in gallery)
    squares = ((np.asarray(queries.mean, np.float64)[:, None] - mean[None]) ** 2).sum(-1)
    positives = [np.array([i]) for i in range(40)]
    for mean_only in (False, True):
        csd = squares + (0 if mean_only else np.exp(log_var).sum(1))
        (part,) = ranking.ranked_blocks(
            queries, gallery, positives, at_least=60, mean_only=mean_only
        )
        np.testing.assert_array_equal(part.order, np.argsort(csd, axis=1, kind="stable"))
        np.testing.assert_allclose(part.best_score, 1 - csd.min(1) / 2, rtol=2e-3, atol=1e-5)


def test_what_is_not_a_number_gets_no_rank(rng):
    given = whole_numbers(rng, 4)
    mean = np.where(np.arange(4)[:, None] == 2, np.nan, given.mean)
    for queries, gallery, name in (
        (Gaussian(mean, given.log_var), given, "query 2"),
        (given, Gaussian(mean, given.log_var), "target 2"),
        (given, Gaussian(given.mean, np.where(mean == mean, 0, np.inf)), "target 2"),
    ):
        with pytest.raises(ValueError, match=f"{name} is not a number"):
            next(ranking.ranked_blocks(queries, gallery, [np.array([0])] * 4))
