"""Comparisons in blocks are those of the whole."""

import functools

import numpy as np
import pytest

import prolip
from prolip import Gaussian


def gaussians(rng, count, dim=6):
    mean = rng.normal(size=(count, dim)).astype(np.float32)
    return Gaussian(mean, rng.normal(-3, 2, (count, dim)).astype(np.float32))


released = functools.partial(prolip.inclusion, eps=-5.0, form="released")


@pytest.mark.parametrize("compare", [prolip.csd, prolip.similarity, prolip.inclusion, released])
@pytest.mark.parametrize(("n", "m", "block"), [(7, 5, 3), (7, 5, 100), (1, 9, 4), (8, 8, 4)])
def test_blocks_are_those_of_the_whole(compare, n, m, block):
    rng = np.random.default_rng(n)
    a, b = gaussians(rng, n), gaussians(rng, m)
    whole = compare(a, b)
    np.testing.assert_allclose(
        prolip.in_blocks(compare, a, b, block=block), whole, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_compares_to_nothing(n, m):
    rng = np.random.default_rng(0)
    assert prolip.in_blocks(prolip.csd, gaussians(rng, n), gaussians(rng, m)).shape == (n, m)


def test_ragged_sizes_compile_once():
    traced = []

    def compare(a, b):
        traced.append(a.mean.shape)
        return prolip.csd(a, b)

    rng = np.random.default_rng(0)
    for n, m in ((9, 4), (10, 7), (11, 5)):
        prolip.in_blocks(compare, gaussians(rng, n), gaussians(rng, m), block=4)
    assert traced == [(4, 6)]


def test_values_that_cannot_be():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="6 and 5 dimensions"):
        prolip.in_blocks(prolip.csd, gaussians(rng, 3), gaussians(rng, 3, dim=5))
    with pytest.raises(ValueError, match="at least 1"):
        prolip.in_blocks(prolip.csd, gaussians(rng, 3), gaussians(rng, 3), block=0)


@pytest.mark.parametrize("name", ["csd", "similarity", "inclusion"])
def test_pairs_are_the_diagonal(name):
    rng = np.random.default_rng(0)
    a, b = gaussians(rng, 5), gaussians(rng, 5)
    pairs = getattr(prolip, f"{name}_paired")(a, b)
    np.testing.assert_allclose(pairs, np.diagonal(getattr(prolip, name)(a, b)), rtol=1e-4)
