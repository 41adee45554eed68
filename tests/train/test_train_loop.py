"""Whole small runs in this process: configurations in the repository, policies, resuming."""

import dataclasses
import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from prolip.checkpoint import CheckpointStore
from prolip.cli import configuration, main
from prolip.config import (
    CheckpointConfig,
    ConfigError,
    ImageTowerConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    TextTowerConfig,
    TokenizerConfig,
)
from prolip.data.records import DataError
from prolip.train import loop, resume, trackers
from prolip.train.non_finite import NonFiniteError
from prolip.workdir import naming, read_jsonl

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
# With small towers the same as so400m_14 but for the learning rate; tests/test_config.py loads all.
ALIKE = ("vit_h14", "vit_l16")
TOWER = dict(width=16, depth=1, num_heads=2, mlp_dim=32)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def shrunk(path, data_dir, steps=4):
    """The experiment with small towers, a small batch and few steps; everything else as it is."""
    config = configuration.load(str(path))
    return dataclasses.replace(
        config,
        init_from="",
        total_steps=steps,
        global_batch=64,
        accumulation_steps=1,
        model=ModelConfig(
            embed_dim=16,
            image=ImageTowerConfig(16, 8, **TOWER),
            text=TextTowerConfig(14, 300, **TOWER),
            heads=config.model.heads,
            log_var_init=config.model.log_var_init,
        ),
        optimizer=dataclasses.replace(config.optimizer, warmup_steps=1, cooldown_steps=0),
        data=dataclasses.replace(
            config.data,
            name="emoji",
            data_dir=data_dir,
            train_split="train",
            eval_split="test",
            tokenizer=TokenizerConfig(vocab_size=300),
            caption_features=("name", "keywords"),
            caption_weights=(0.5, 0.5),
            num_workers=0,
        ),
        eval=dataclasses.replace(config.eval, label_features=("group",)),
        checkpoint=CheckpointConfig(every=2),
        logging=LoggingConfig(every=1, tensorboard=False),
    )


def run(config, workdir, **options):
    out = io.StringIO()
    outcome = loop.train(config, str(workdir), console=Console(file=out, width=200), **options)
    return outcome, out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in CONFIGS if p.stem not in ALIKE], ids=lambda p: p.stem)
def test_every_configuration_trains(path, tmp_path, data_dir):
    outcome, said = run(shrunk(path, data_dir), tmp_path / "run")
    assert outcome == loop.Outcome(4, None)
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert json.loads((tmp_path / "run" / "DONE").read_text()) == {"step": 4}
    assert "step 4/4" in said


@pytest.fixture
def config(data_dir):
    return shrunk(CONFIGS[0], data_dir)


@pytest.mark.slow
def test_a_run_cut_in_two_on_another_number_of_devices_goes_on(config, tmp_path, monkeypatch):
    """2 steps on 8 devices, 2 on 4: the samples are the same ones, the losses agree."""
    import jax

    from prolip import sharding

    run(config, tmp_path / "whole")
    half = dataclasses.replace(config, total_steps=2)
    run(half, tmp_path / "cut", allow_changes=True)
    devices = jax.devices()[:4]
    make_mesh = sharding.make_mesh
    monkeypatch.setattr(sharding, "make_mesh", lambda mesh: make_mesh(mesh, devices))
    _, said = run(config, tmp_path / "cut", allow_changes=True)
    assert "resuming at step 2" in said
    whole, cut = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("whole", "cut"))
    assert [r["samples_digest"] for r in whole] == [r["samples_digest"] for r in cut]


def test_processes_that_read_other_data_are_refused_before_anything_is_written(
    config, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(resume, "differing", lambda text: said.append(text) or [1, 3])
    with pytest.raises(DataError, match=r"read by process 1, 3: make the copies"):
        run(config, tmp_path / "run")
    assert json.loads(said[0])["split"] == "train"
    assert not list((tmp_path / "run").glob("metrics*"))
    assert not list((tmp_path / "run").glob("config*"))


@pytest.mark.slow
def test_another_configuration_is_refused_unless_it_is_asked_for(config, tmp_path):
    run(config, tmp_path / "run")
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(ConfigError, match=r"config\.seed: 0 there, 1 here"):
        run(other, tmp_path / "run")
    # What does not change the result may change.
    free = dataclasses.replace(config, logging=LoggingConfig(every=2, tensorboard=False))
    # As if the process had died after its last save, before it could say that it is done.
    (tmp_path / "run" / "DONE").unlink()
    outcome, said = run(free, tmp_path / "run")
    assert outcome.step == 4 and "the run is complete" in said
    assert (tmp_path / "run" / "DONE").exists()


@pytest.mark.slow
def test_clipping_and_accumulation_may_change_at_a_resume_and_the_optimizer_may_not(
    config, tmp_path
):
    workdir = tmp_path / "run"
    run(dataclasses.replace(config, total_steps=2), workdir)
    clip = dataclasses.replace(config.optimizer, grad_clip_norm=0.5)
    clipped = dataclasses.replace(config, optimizer=clip, total_steps=3, accumulation_steps=2)
    assert run(clipped, workdir, allow_changes=True)[0].step == 3
    outcome, said = run(dataclasses.replace(config, total_steps=4), workdir, allow_changes=True)
    assert outcome.step == 4
    assert "note: the learning rate was" in said  # The schedule ends later: half-way it is higher.
    muon = dataclasses.replace(config.optimizer, name="muon")
    with pytest.raises(ConfigError, match=r"optimizer\.name: 'adamw' there, 'muon' here") as error:
        run(dataclasses.replace(config, optimizer=muon), workdir, allow_changes=True)
    assert len(str(error.value)) < 400 and "init_from" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_explosion_stops_or_skips_and_leaves_something_to_look_at(policy, config, tmp_path):
    # A rate that sends the parameters to infinity after the first update.
    broken = dataclasses.replace(
        config,
        non_finite=policy,
        max_skipped=1,
        optimizer=OptimizerConfig(learning_rate=1e38, warmup_steps=0, schedule="constant"),
    )
    with pytest.raises(NonFiniteError, match="step"):
        run(broken, tmp_path / "run")
    dumps = sorted((tmp_path / "run" / "dumps").glob("*/*/batch.npz"))
    assert len(dumps) == (1 if policy == "stop" else 2)
    assert np.load(dumps[0])["image"].shape == (64, 16, 16, 3)
    with CheckpointStore(tmp_path / "run" / "checkpoints", write=False) as store:
        assert all(step < 4 for step in store.steps())


def test_a_full_disk_names_the_file_that_could_not_be_written(tmp_path):
    with pytest.raises(OSError, match="TensorBoard") as raised, naming(tmp_path / "TensorBoard"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "the disk of" in (main._disk(raised.value) or "")
    board = trackers.TensorBoard(tmp_path / "board", 4)
    board.write(5, {"loss": 1.5})
    board.close()
    [events] = (tmp_path / "board").iterdir()
    content = events.read_bytes()
    assert b"loss" in content and b"brain.Event:2" in content
