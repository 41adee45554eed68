"""Similarity of sets against one pair of vectors at a time; order of slots; one slot is a point."""

import dataclasses

import jax
import numpy as np
import pytest

import prolip
from prolip.config import SlotsConfig
from prolip.gaussian import Gaussian
from prolip.slot_similarity import mean_set_similarity, unit_slots

FORMS = ("max", "smooth_chamfer")
DIM = 5


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sets(rng, num, count):
    """Float64 [num, count, dim] of unit vectors, and the points that a model would give."""
    vectors = rng.normal(size=(num, count, DIM))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    mean = (vectors / np.sqrt(count)).reshape(num, -1).astype(np.float32)
    return vectors, Gaussian(mean, np.full_like(mean, -np.inf))


def obvious(a, b, slots):
    """Of two sets of vectors, as the papers write it."""
    cosines = [[float(x @ y) for y in b] for x in a]
    if slots.similarity == "max":
        return max(max(row) for row in cosines)
    total = 0.0
    for lines in (cosines, list(zip(*cosines, strict=True))):
        nearest = [np.log(sum(np.exp(slots.alpha * c) for c in line)) for line in lines]
        total += sum(nearest) / (2 * slots.alpha * len(lines))
    return total


@pytest.mark.parametrize("alpha", [0.5, 16.0])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_equals_the_formula_pair_by_pair(rng, count, form, alpha):
    slots = SlotsConfig(count, form, alpha)
    (a, points_a), (b, points_b) = sets(rng, 4, count), sets(rng, 7, count)
    expected = [[obvious(x, y, slots) for y in b] for x in a]
    found = prolip.set_similarity(points_a, points_b, slots)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("form", FORMS)
def test_one_slot_is_the_cosine_to_the_bit(rng, form):
    (_, a), (_, b) = sets(rng, 6, 1), sets(rng, 9, 1)
    found = prolip.set_similarity(a, b, SlotsConfig(1, form))
    np.testing.assert_array_equal(found, prolip.similarity(a, b))


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_slots_does_not_matter(rng, form):
    slots = SlotsConfig(4, form)
    (a, points_a), (_, points_b) = sets(rng, 3, 4), sets(rng, 5, 4)
    turned = np.stack([x[rng.permutation(4)] for x in a]).reshape(3, -1) / 2
    found = mean_set_similarity(turned.astype(np.float32), points_b.mean, slots)
    expected = prolip.set_similarity(points_a, points_b, slots)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    # What takes sets for points does see the order.
    assert np.abs(turned @ points_b.mean.T - prolip.similarity(points_a, points_b)).max() > 0.01


def test_smooth_chamfer_nears_the_mean_of_nearest_slots(rng):
    """From above, as the log of the sum of K exponentials exceeds the largest by log K at most."""
    (a, points_a), (b, points_b) = sets(rng, 3, 3), sets(rng, 4, 3)
    cosines = np.einsum("nkd,mld->nmkl", a, b)
    hard = (cosines.max(3).mean(2) + cosines.max(2).mean(2)) / 2
    for alpha in (4.0, 64.0):
        slots = SlotsConfig(3, "smooth_chamfer", alpha)
        above = np.asarray(prolip.set_similarity(points_a, points_b, slots)) - hard
        assert above.min() > -1e-5
        assert above.max() < np.log(3) / alpha + 1e-5


def test_slots_are_unit_and_so_is_the_whole(rng):
    slots = np.asarray(unit_slots(rng.normal(size=(6, 4, DIM)).astype(np.float32)))
    np.testing.assert_allclose(np.linalg.norm(slots, axis=-1), 0.5, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(slots.reshape(6, -1), axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_is_finite_where_slots_are_the_same(rng, form):
    slots = SlotsConfig(3, form)
    one, other = sets(rng, 2, 1)[1].mean, sets(rng, 2, 3)[1].mean
    same = np.tile(one, 3) / np.sqrt(3).astype(np.float32)
    gradient = jax.grad(lambda x: mean_set_similarity(x, other, slots).sum())(same)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_dimensions_that_are_no_whole_slots_are_refused(rng):
    _, points = sets(rng, 2, 3)
    slots = dataclasses.replace(SlotsConfig(), count=2)
    with pytest.raises(ValueError, match="15 dimensions are no 2 slots"):
        prolip.set_similarity(points, points, slots)
