"""Runs whose embeddings are sets: the same on any number of devices, trained, and evaluated."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console

import prolip
from prolip import sharding
from prolip.cli import configuration
from prolip.config import (
    CheckpointConfig,
    ConfigError,
    ImageTowerConfig,
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    ObjectiveConfig,
    SlotsConfig,
    TextTowerConfig,
    TokenizerConfig,
)
from prolip.data.records import Batch
from prolip.evals.run import evaluate_workdir
from prolip.losses.check import check
from prolip.models import two_tower
from prolip.train import loop
from prolip.train.step import TextIds, loss_and_grads
from prolip.workdir import Workdir, read_jsonl

TOWER = dict(width=16, depth=1, num_heads=2, mlp_dim=32)
OFF = dict(ppcl=0.0, bottleneck=0.0, inclusion_image_text=0.0, inclusion_masked=0.0)


def experiment(form):
    config = configuration.load("emoji:siglip")
    return dataclasses.replace(
        config,
        total_steps=4,
        global_batch=48,
        model=ModelConfig(
            embed_dim=16,
            image=ImageTowerConfig(16, 8, **TOWER),
            text=TextTowerConfig(14, 300, **TOWER),
            heads="deterministic",
            slots=SlotsConfig(3, form),
        ),
        objective=ObjectiveConfig(sets=1.0, sets_diversity=0.1, positives="extended", **OFF),
        optimizer=dataclasses.replace(config.optimizer, warmup_steps=1),
        data=dataclasses.replace(config.data, tokenizer=TokenizerConfig(vocab_size=300)),
        checkpoint=CheckpointConfig(every=4),
        logging=LoggingConfig(every=1, tensorboard=False),
    )


def gradients(config, devices):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:devices])
    model = two_tower.build(config.model)
    rng = np.random.default_rng(0)
    kind = rng.integers(1, 20, 48).astype(np.int32)
    batch = Batch(
        rng.integers(0, 256, (48, 16, 16, 3)).astype(np.uint8),
        rng.integers(2, 300, (48, 14)).astype(np.int32),
        kind,
        np.stack([kind, 20 + kind // 5], 1).astype(np.int32),
        np.arange(48, dtype=np.int32),
    )
    with jax.set_mesh(mesh):
        params = jax.jit(model.init)(jax.random.key(1))
        f = jax.jit(
            lambda p, b: loss_and_grads(model, config, TextIds(0, 1), p, b, jax.random.key(2))
        )
        return jax.device_get(f(params, sharding.to_global(mesh, batch)))


@pytest.mark.slow
@pytest.mark.parametrize(("form", "devices"), [("max", 3), ("smooth_chamfer", 8)])
def test_loss_and_gradients_are_the_same_on_several_devices(form, devices):
    config = experiment(form)
    ((loss, metrics), grads) = gradients(config, 1)
    largest = max(np.abs(g).max() for g in jax.tree.leaves(grads))
    # The loss alone is compared on all numbers of devices: tests/losses/test_set_losses.py.
    (other, measured), found = gradients(config, devices)
    np.testing.assert_allclose(other, loss, rtol=1e-5)
    for name, value in metrics.items():
        np.testing.assert_allclose(measured[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5 * largest)


@pytest.mark.slow
def test_a_run_trains_and_is_evaluated_by_the_similarity_of_sets(tmp_path):
    outcome = loop.train(
        experiment("smooth_chamfer"), str(tmp_path), console=Console(file=io.StringIO())
    )
    assert outcome == loop.Outcome(4, None)
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert {"loss/sets", "loss/sets_diversity", "similarity/negative"} <= rows[-1].keys()
    assert all(np.isfinite(row["loss"]) for row in rows)
    evaluated = evaluate_workdir(Workdir(tmp_path), say=lambda sentence: None)
    assert evaluated.evaluated == [4] and not evaluated.failed
    metrics = {}
    for line in (tmp_path / "evals.jsonl").read_text().splitlines():
        metrics |= json.loads(line)["metrics"]
    assert 0 < metrics["retrieval/text_to_image/map_at_r"] < 1
    assert "zero_shot/group/top1" in metrics
    assert prolip.load(tmp_path).slots.similarity == "smooth_chamfer"


@pytest.mark.parametrize(
    ("changes", "slots", "words"),
    [
        (dict(sets=1.0, siglip=1.0), 3, "sets of 3 .*set siglip to 0"),
        (dict(sets=0.0), 3, "sets of 3 .*give it a weight"),
        (dict(sets=1.0, sets_diversity=0.1), 1, "sets_diversity has nothing to act on"),
    ],
)
def test_an_objective_that_does_not_fit_the_slots_is_refused(changes, slots, words):
    with pytest.raises(ConfigError, match=words):
        check(ObjectiveConfig(**OFF | changes), variances=False, slots=slots)
