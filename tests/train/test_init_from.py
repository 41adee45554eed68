"""A run that begins with the weights of another model."""

import dataclasses
import gc
import io
import json
import weakref
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

import prolip
from prolip import sharding
from prolip.checkpoint import CheckpointStore
from prolip.cli import configuration
from prolip.config import (
    CheckpointConfig,
    ConfigError,
    LoggingConfig,
    MeshConfig,
    OptimizerConfig,
    TokenizerConfig,
)
from prolip.convert import convert
from prolip.interop.errors import SourceError
from prolip.train import assembly, loop
from prolip.workdir import Workdir

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two steps that change nothing: the learning rate is zero in float32."""
    emoji = configuration.load("emoji")
    model = prolip.load(FIXTURES / "tiny").config
    data = dataclasses.replace(
        emoji.data,
        data_dir=str(tmp_path_factory.mktemp("data")),
        tokenizer=TokenizerConfig(vocab_size=300),
        augment=dataclasses.replace(emoji.data.augment, mixup=0.0),
    )
    return dataclasses.replace(
        emoji,
        total_steps=2,
        global_batch=64,
        model=model,
        optimizer=OptimizerConfig(learning_rate=1e-45, warmup_steps=1, weight_decay=0.0),
        data=data,
        checkpoint=CheckpointConfig(every=1),
        logging=LoggingConfig(tensorboard=False),
    )


def train(config, path):
    loop.train(config, str(path), console=Console(file=io.StringIO()))
    return prolip.load(path)


@pytest.fixture(scope="module")
def first(config, tmp_path_factory):
    """A run from scratch, whose weights the others begin with."""
    path = tmp_path_factory.mktemp("first") / "run"
    train(config, path)
    return path


def leaves(params):
    paths = jax.tree_util.tree_leaves_with_path(jax.device_get(params))
    return {jax.tree_util.keystr(path): leaf for path, leaf in paths}


def assert_equal_but(a, b, *others):
    a, b = leaves(a.params), leaves(b.params)
    assert a.keys() == b.keys()
    for name, value in a.items():
        if not any(other in name for other in others):
            assert np.array_equal(value, b[name]), name


def test_weights_and_tokenizer_are_those_of_the_workdir(config, first, tmp_path):
    begun = dataclasses.replace(config, init_from=str(first), seed=5)
    begun = dataclasses.replace(begun, mesh=MeshConfig(data=4, fsdp=2))
    model = train(begun, tmp_path / "run")
    assert_equal_but(model, prolip.load(first))
    assert model.identity == prolip.load(first).identity


def test_the_source_leaves_the_devices_once_it_is_read(config, first, monkeypatch):
    """The start lives as long as the run."""
    loaded = []
    monkeypatch.setattr(
        assembly, "load", lambda source: loaded.append(weakref.ref(m := prolip.load(source))) or m
    )
    mesh = sharding.make_mesh(MeshConfig(), jax.devices())
    start = assembly.Start(dataclasses.replace(config, init_from=str(first)), None, None)
    with jax.set_mesh(mesh):
        start.tokenizer()
        start.state(mesh)
    assert [note.split()[:3] for note in start.notes] == [
        ["the", "tokenizer", "is"],
        ["logit_scale", "14.29", "and"],
    ]
    gc.collect()
    assert len(loaded) == 1 and loaded[0]() is None


def test_a_published_checkpoint_needs_a_tokenizer_of_the_config(config, tmp_path):
    published = dataclasses.replace(config, init_from=str(FIXTURES / "tiny"))
    with pytest.raises(SourceError, match="timm/ViT-B-16-SigLIP"):
        train(published, tmp_path / "run")
    assert not Workdir(tmp_path / "run").config.exists()


@pytest.mark.slow
def test_positions_are_stretched_and_the_run_goes_on(config, first, tmp_path):
    old = config.model
    longer = dataclasses.replace(
        old,
        image=dataclasses.replace(old.image, image_size=48),
        text=dataclasses.replace(old.text, length=24),
    )
    begun = dataclasses.replace(config, init_from=str(first), model=longer)
    # With more images of one size in a batch, the emoji are resized to 48 pixels.
    model = train(begun, tmp_path / "run")
    assert_equal_but(model, prolip.load(first), "positions")
    assert model.params["text"]["positions"].shape == (26, 32)
    assert model.params["image"]["positions"].shape == (38, 48)
    # What it began with plays no part any more: the source may be gone.
    further = dataclasses.replace(begun, total_steps=3, init_from="gone")
    loop.train(
        further, str(tmp_path / "run"), allow_changes=True, console=Console(file=io.StringIO())
    )
    with CheckpointStore(Workdir(tmp_path / "run").checkpoints, write=False) as store:
        assert store.latest() == 3


def test_other_statistics_of_images_are_refused(config, first, tmp_path):
    data = dataclasses.replace(config.data, mean=(0.5, 0.5, 0.5))
    with pytest.raises(ConfigError, match=r"config\.data\.mean: \(0\.5"):
        train(dataclasses.replace(config, init_from=str(first), data=data), tmp_path / "run")


def test_a_scale_that_the_first_update_changes_is_told(config, first):
    lower = dataclasses.replace(config.optimizer, max_logit_scale=10.0)
    begun = dataclasses.replace(config, init_from=str(first), optimizer=lower)
    start = assembly.Start(begun, None, None)
    mesh = sharding.make_mesh(MeshConfig(), jax.devices())
    with jax.set_mesh(mesh):
        start.state(mesh)
    assert start.notes[-1] == (
        "logit_scale is 14.29, outside 1 to config.optimizer.max_logit_scale (10): the first "
        "update sets it to 10; --config.optimizer.max_logit_scale=15 keeps it"
    )


def test_another_tokenizer_is_refused_unless_it_is_meant(config, first):
    cleaned = dataclasses.replace(config.data.tokenizer, cleaning="lower")
    data = dataclasses.replace(config.data, tokenizer=cleaned)
    begun = dataclasses.replace(config, init_from=str(first), data=data)
    with pytest.raises(ConfigError, match=r"trained with 'canonicalize'.*--allow-config-change"):
        assembly.Start(begun, None, None).tokenizer()
    start = assembly.Start(begun, None, None, allow_changes=True)
    start.tokenizer()
    assert "set --config.data.tokenizer.cleaning=canonicalize" in start.notes[0]


def test_another_architecture_is_refused_before_anything_is_written(config, first, tmp_path):
    other = dataclasses.replace(
        config,
        init_from=str(first),
        model=dataclasses.replace(
            config.model, text=dataclasses.replace(config.model.text, depth=3)
        ),
    )
    with pytest.raises(ConfigError, match=r"text\.depth: 2 there, 3 here"):
        train(other, tmp_path / "run")
    assert not Workdir(tmp_path / "run").config.exists()


@pytest.mark.slow
def test_a_converted_checkpoint_is_begun_with_by_its_workdir(config, first, tmp_path):
    """To the Hub's layout and back: the same weights, tokenizer and embeddings."""
    convert(first, tmp_path / "hub", "hub", hub_id="me/emoji")
    convert(tmp_path / "hub", tmp_path / "orbax", "orbax")
    texts = ["a smiling cat", "flags"]
    source = prolip.load(first)
    for path in (tmp_path / "hub", tmp_path / "orbax", tmp_path / "orbax" / "checkpoints" / "0"):
        model = prolip.load(path)
        assert_equal_but(model, source)
        assert model.identity["weights"] == source.identity["weights"]
        assert model.identity["tokenizer"] == source.identity["tokenizer"]
        assert np.array_equal(model.encode_text(texts).mean, source.encode_text(texts).mean)
    settings = json.loads((tmp_path / "hub" / "tokenizer_config.json").read_text())
    assert settings["pad_token"] == "[PAD]" and settings["model_max_length"] == 16
    assert '"hf_tokenizer_name": "me/emoji"' in (tmp_path / "hub" / "config.json").read_text()
    model = train(dataclasses.replace(config, init_from=str(tmp_path / "orbax")), tmp_path / "run")
    assert_equal_but(model, source)
