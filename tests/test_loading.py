"""Checkpoints of ours whose manifest agrees with what a stranger wrote into them."""

import importlib.util
import json
import logging
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import prolip
from prolip.checkpoint import CheckpointError, manifest

spec = importlib.util.spec_from_file_location(
    "small_model", Path(__file__).parent / "retrieval" / "small_model.py"
)
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loading") / "run"
    small.save(small.small_model(), folder)
    return folder


@pytest.fixture
def run(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def change(run, name, edit):
    step = run / "checkpoints" / "1"
    path = step / "assets" / name
    content = edit(json.loads(path.read_text()))
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    made = manifest.of_directory(1, step)
    (run / "checkpoints" / "manifests" / "1.json").write_bytes(made.encode())


def image(**fields):
    def edit(config):
        config["model"]["image"].update(fields)
        return config

    return edit


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("config.json", image(width=10**8)),
        ("config.json", image(depth=10**9)),
        ("config.json", image(norm_eps=0.0)),
        ("config.json", image(num_heads=0)),
        ("config.json", lambda config: [1]),
        ("config.json", lambda config: "[" * 100_000),
        ("config.json", lambda config: config | {"model": 5}),
        ("preprocessing.json", lambda values: {"image_size": -5}),
        ("preprocessing.json", lambda values: values | {"std": [0, 0, 0]}),
        ("preprocessing.json", lambda values: values | {"mean": [float("nan")] * 3}),
        ("preprocessing.json", lambda values: values | {"image_size": 32}),
        ("tokenizer.json", lambda values: "{" * 100_000),
        ("tokenizer_spec.json", lambda values: "[" * 100_000),
    ],
)
def test_assets_that_make_no_model_are_a_sentence(name, edit, run):
    change(run, name, edit)
    with pytest.raises(CheckpointError, match="checkpoints/1 can't be loaded: ") as caught:
        prolip.load(run)
    assert len(str(caught.value)) < 600


def test_a_missing_config_is_a_sentence(run):
    (run / "checkpoints" / "1" / "assets" / "config.json").unlink()
    change(run, "preprocessing.json", lambda values: values)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        prolip.load(run)


def test_weights_of_a_run_that_diverged_are_told(tmp_path, caplog):
    model = small.small_model()
    broken = jax.tree.map(lambda x: x, model.params)
    broken["logit_bias"] = broken["logit_bias"] * np.nan
    model._params = broken
    small.save(model, tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        prolip.load(tmp_path / "run")
    assert "logit_bias is not finite" in caplog.text


def test_a_folder_without_a_checkpoint_says_what_it_holds(tmp_path):
    with pytest.raises(CheckpointError, match="it is empty"):
        prolip.load(tmp_path)
    for number in range(8):
        (tmp_path / f"{number}.jpg").touch()
    with pytest.raises(CheckpointError, match=r"it holds 0\.jpg, .* and 3 more"):
        prolip.load(tmp_path)
