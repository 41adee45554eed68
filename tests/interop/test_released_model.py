"""Embeddings of the released PyTorch code, from its own weights."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prolip import sharding
from prolip.config import MeshConfig
from prolip.interop import hub
from prolip.models import two_tower

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ["tiny", "quickgelu", "tiny_det"]


def load(name, dtype="float32"):
    published = hub.read(FIXTURES / name)
    config = dataclasses.replace(published.config, dtype=dtype)
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), published.params)
    return two_tower.build(config), params, np.load(FIXTURES / f"{name}_io.npz")


def on_one_device():
    return jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices()[:1]))


def embeddings(model, params, io, dtype="float32"):
    """Everything that the fixture has, by its name there."""
    images = jnp.asarray(io["images"].transpose(0, 2, 3, 1), dtype)
    image, text = jax.jit(model.image), jax.jit(model.text)
    with on_one_device():
        result = {
            "image": image(params, images),
            "text": text(params, jnp.asarray(io["text"])),
            "text_short": text(params, jnp.asarray(io["text_short"])),
        }
        for ratio in ("75", "50"):
            if f"mask{ratio}_keep_indices" in io:
                keep = jnp.asarray(io[f"mask{ratio}_keep_indices"])
                result[f"mask{ratio}_image"] = image(params, images, keep)
    return result


@pytest.mark.parametrize("name", NAMES)
def test_structure_is_that_of_our_own_initialisation(name):
    model, params, _ = load(name)
    with on_one_device():
        ours = jax.eval_shape(model.init, jax.random.key(0))
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), params)
    assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), ours)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_those_of_the_released_code(name):
    model, params, io = load(name)
    for key, got in embeddings(model, params, io).items():
        np.testing.assert_allclose(got.mean, io[f"{key}_mean"], atol=1e-5, err_msg=key)
        if name == "tiny_det":
            assert np.all(np.asarray(got.uncertainty) == 0)
        else:
            np.testing.assert_allclose(got.log_var, io[f"{key}_std"], rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_float64_agrees_to_rounding(name):
    with jax.enable_x64(True):
        model, params, io = load(name, "float64")
        for key, got in embeddings(model, params, io, "float64").items():
            np.testing.assert_allclose(got.mean, io[f"{key}_mean_f64"], atol=1e-9, err_msg=key)
            if name != "tiny_det":
                expected = io[f"{key}_std_f64"]
                np.testing.assert_allclose(got.log_var, expected, rtol=1e-9, err_msg=key)
