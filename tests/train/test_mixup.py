"""Blended images and what they match."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prolip import losses, sharding
from prolip.config import MeshConfig
from prolip.gaussian import Gaussian
from prolip.losses.positives import blended, drawn_pairs
from prolip.train.mixup import mixup

ROWS = 24
IMAGES = np.random.default_rng(0).normal(size=(ROWS, 4, 4, 3)).astype(np.float32)


def mixed(devices, probability, seed=0):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:devices])
    with jax.set_mesh(mesh):
        f = jax.jit(mixup, static_argnums=2)
        return jax.device_get(
            f(sharding.to_global(mesh, IMAGES), jax.random.key(seed), probability)
        )


@pytest.mark.parametrize("devices", [1, 3, 8])
def test_blends_are_of_the_opposite_row_by_their_weight_on_any_mesh(devices):
    images, weight = mixed(devices, 0.5)
    np.testing.assert_array_equal(weight, mixed(1, 0.5)[1])
    assert (weight >= 0.5).all() and (weight <= 1).all()
    part = weight.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(images, part * IMAGES + (1 - part) * IMAGES[::-1], rtol=1e-6)


def test_the_probability_is_how_often():
    weights = np.concatenate([mixed(1, 0.25, seed)[1] for seed in range(80)])
    assert abs((weights < 1).mean() - 0.25) < 0.03
    assert abs(weights[weights < 1].mean() - 0.75) < 0.02


def batch():
    rng = np.random.default_rng(1)
    means = [np.linalg.qr(rng.normal(size=(ROWS, ROWS)))[0] for _ in range(2)]
    image, text = (
        Gaussian(jnp.asarray(m, jnp.float32), jnp.full((ROWS, ROWS), -5.0)) for m in means
    )
    return image, text, jnp.asarray(rng.random((ROWS, ROWS)) < 0.2) | jnp.eye(ROWS, dtype=bool)


def test_sigmoid_losses_are_linear_in_the_parts():
    image, text, positives = batch()
    targets = blended(positives, jnp.full(ROWS, 0.7))
    for loss in (
        lambda p: losses.ppcl(image, text, 10.0, -3.0, p),
        lambda p: losses.siglip(image.mean, text.mean, 10.0, -3.0, p),
    ):
        both = 0.7 * loss(positives) + 0.3 * loss(positives[::-1])
        np.testing.assert_allclose(loss(targets), both, rtol=1e-5)


def test_parts_of_zero_and_one_are_the_booleans():
    image, text, positives = batch()
    np.testing.assert_array_equal(blended(positives, jnp.ones(ROWS)), positives)
    np.testing.assert_array_equal(blended(positives, jnp.zeros(ROWS)), positives[::-1])
    for p in (positives, positives[::-1]):
        parts = p.astype(jnp.float32)
        for loss in (
            lambda p: losses.ppcl(image, text, 10.0, -3.0, p),
            lambda p: losses.clip(image.mean, text.mean, 10.0, p),
        ):
            np.testing.assert_allclose(loss(parts), loss(p), rtol=1e-6)


def test_softmax_shares_its_target_by_the_parts():
    image, text, positives = batch()
    targets = np.asarray(blended(positives, jnp.linspace(0.5, 1, ROWS)), np.float64)
    logits = 10 * np.asarray(image.mean, np.float64) @ np.asarray(text.mean, np.float64).T
    expected = 0.0
    for scores, wanted in ((logits, targets), (logits.T, targets.T)):
        log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        expected -= (log_p * wanted / wanted.sum(1, keepdims=True)).sum() / ROWS / 2
    got = losses.clip(image.mean, text.mean, 10.0, jnp.asarray(targets, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_drawn_pairs_are_the_diagonal():
    np.testing.assert_array_equal(drawn_pairs(jnp.array([4, 4, 0])), np.eye(3, dtype=bool))
