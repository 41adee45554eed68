"""Towers with slots: unit sets on any mesh, the model that users load, and what refuses sets."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

import prolip
from prolip import sharding
from prolip.checkpoint import CheckpointStore
from prolip.config import (
    ConfigError,
    ImageTowerConfig,
    MeshConfig,
    ModelConfig,
    SlotsConfig,
    TextTowerConfig,
    TokenizerConfig,
    TrainConfig,
    to_dict,
)
from prolip.data.image import Preprocessing
from prolip.data.tokenizer import make_tokenizer
from prolip.interop.hub_config import hub_config
from prolip.model import _architecture
from prolip.models import two_tower
from prolip.models.slots import Slots
from prolip.retrieval.bulk import embed

TOWER = dict(width=16, depth=1, num_heads=2, mlp_dim=32)
POINTS = ModelConfig(
    embed_dim=8,
    image=ImageTowerConfig(16, 8, **TOWER),
    text=TextTowerConfig(6, 50, **TOWER),
    heads="deterministic",
)
CONFIG = dataclasses.replace(POINTS, slots=SlotsConfig(3))


def embeddings(devices, config=CONFIG, mesh=None):
    mesh = sharding.make_mesh(mesh or MeshConfig(), jax.devices()[:devices])
    model = two_tower.build(config)
    rng = np.random.default_rng(0)
    inputs = (
        rng.normal(size=(24, 16, 16, 3)).astype(np.float32),
        rng.integers(0, 50, (24, 6)).astype(np.int32),
    )
    with jax.set_mesh(mesh):
        params = jax.jit(model.init)(jax.random.key(1))
        images, texts = sharding.to_global(mesh, inputs)
        return jax.device_get((jax.jit(model.image)(params, images), model.text(params, texts)))


def test_sets_are_of_unit_vectors_that_differ():
    for side in embeddings(1):
        slots = side.mean.reshape(24, 3, 8) * np.sqrt(3)
        np.testing.assert_allclose(np.linalg.norm(slots, axis=-1), 1, rtol=1e-5)
        cosines = np.einsum("bkd,bld->bkl", slots, slots)
        assert cosines[:, 0, 1].max() < 0.999
        assert np.isneginf(side.log_var).all()


def test_sets_are_the_same_on_a_mesh():
    expected = embeddings(1)
    for got, wanted in zip(embeddings(8, mesh=MeshConfig(2, 2, 2)), expected, strict=True):
        np.testing.assert_allclose(got.mean, wanted.mean, atol=2e-6)


def test_slots_follow_their_formula():
    rng = np.random.default_rng(0)
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        module = Slots(16, 8, SlotsConfig(3), dtype=np.float32, rngs=nnx.Rngs(0))
    feature = rng.normal(size=(2, 8)).astype(np.float32)
    tokens = rng.normal(size=(2, 5, 16)).astype(np.float32)
    with jax.set_mesh(mesh):
        found = np.asarray(module(*sharding.to_global(mesh, (feature, tokens))).mean)
    found = found.reshape(2, 3, 8)

    def norm(x):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-6)

    hidden = np.tanh(tokens @ np.asarray(module.hidden.kernel))
    for row in range(2):
        for slot in range(3):
            logits = hidden[row] @ np.asarray(module.weights.kernel)[:, slot]
            weights = np.exp(logits) / np.exp(logits).sum()
            local = (weights @ tokens[row]) @ np.asarray(module.project.kernel[:, slot])
            whole = norm(feature[row]) + norm(local)
            expected = whole / np.linalg.norm(whole) / np.sqrt(3)
            np.testing.assert_allclose(found[row, slot], expected, atol=1e-5)


def test_one_slot_is_the_model_as_ever():
    """No other parameters, and none of it in what names a model."""
    model = two_tower.build(POINTS)
    with sharding.some_mesh():
        params = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    assert not any("slots" in side for side in (params["image"], params["text"]))
    named = _architecture(POINTS)
    other = dataclasses.replace(POINTS, slots=SlotsConfig(1, "smooth_chamfer"))
    assert "slots" not in named and _architecture(other) == named
    assert _architecture(dataclasses.replace(POINTS, slots=SlotsConfig(2))) != named


def test_sets_with_variances_are_refused():
    with pytest.raises(ConfigError, match=r"slots\.count: 3 slots have no variances.*heads=det"):
        two_tower.build(dataclasses.replace(CONFIG, heads="paper"))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run's directory of one step."""
    path = tmp_path_factory.mktemp("sets")
    words = [f"a text about thing number {n}" for n in range(100)]
    text = TextTowerConfig(6, 300, **TOWER)
    config = dataclasses.replace(CONFIG, text=text, slots=SlotsConfig(3, "smooth_chamfer"))
    tokenizer = make_tokenizer(TokenizerConfig(vocab_size=300), 6, words)
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    model = two_tower.build(config)
    with jax.set_mesh(mesh):
        params = jax.jit(model.init)(jax.random.key(1))
    preprocessing = Preprocessing(16, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    assets = {
        "config.json": json.dumps(to_dict(TrainConfig(model=config))).encode(),
        "preprocessing.json": json.dumps(preprocessing.to_dict()).encode(),
        **tokenizer.files(),
    }
    with CheckpointStore(path / "checkpoints", write=True) as store:
        store.save(1, {"params": params}, {}, assets)
    return path


def test_a_loaded_model_gives_sets_and_says_how_they_compare(workdir):
    model = prolip.load(workdir)
    texts = model.encode_text(["a text about thing number 3", "thing", "number 8"])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 17, 3), dtype=np.uint8)
    images = model.encode_image(list(pixels))
    assert model.slots == SlotsConfig(3, "smooth_chamfer")
    assert texts.mean.shape == (3, 24) and images.mean.shape == (2, 24)
    assert model.encode_text([]).mean.shape == (0, 24)
    found = prolip.set_similarity(texts, images, model.slots)
    assert found.shape == (3, 2)
    itself = np.asarray(prolip.set_similarity(texts, texts, model.slots))
    assert (itself.argmax(1) == np.arange(3)).all()


def test_what_takes_one_vector_refuses_sets(workdir, tmp_path):
    model = prolip.load(workdir)
    with pytest.raises(ConfigError, match=r"slots\.count=3; share its workdir"):
        hub_config(model.config)
    with pytest.raises(ConfigError, match=r"3 slots for each item.*prolip\.set_similarity"):
        embed(model, None, tmp_path, None)
