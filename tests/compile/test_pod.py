"""The real train step, compiled for TPU pods on this machine, by the command that users have."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from prolip.cli.main import main
from prolip.compile.topology import TPUS

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the extra `aot`"
)

# Compiled in a process of its own: the flags and the eight devices of the tests stay out of it.
SMALL = """
import dataclasses
from prolip import config
from prolip.models import sizes

def get_config():
    model = dataclasses.replace(sizes.TINY, dtype="bfloat16", remat="dots")
    return config.to_config_dict(config.TrainConfig(global_batch={batch}, model=model))
"""


def compiled(tmp_path, topology, *options, batch=1024):
    path = tmp_path / "small.py"
    path.write_text(SMALL.format(batch=batch))
    hlo = tmp_path / "step.hlo"
    words = ("compile", "--topology", topology, "--config", str(path), "--hlo", str(hlo), "--json")
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-m", "prolip.cli.main", *words, *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), hlo


def parameter_bytes(report):
    """Parameters and the two moments of AdamW, in float32, are most of the arguments."""
    return report["memory"]["reused"] / 3


@needs_libtpu
@pytest.mark.slow
def test_data_parallel_step_fits_donates_and_gathers_texts_alone(tmp_path):
    from prolip.compile import hlo

    report, text = compiled(tmp_path, "v5e:4x4", "--estimate")
    assert report["fits"] and report["num_devices"] == 16 and report["pairs_per_device"] == 64
    memory = report["memory"]
    # Everything but the batch is given back for the result.
    batch = 64 * (32 * 32 * 3 + 4 * (16 + 32 + 2))
    assert 0 <= memory["arguments"] - memory["reused"] < 3 * batch
    gathers = [t for t in report["traffic"] if t["kind"] == "all-gather"]
    texts = 1024 * 64 * 4
    assert sum(t["nbytes"] for t in gathers) < 2 * texts < parameter_bytes(report)
    program = hlo.parse(text.read_text())
    # The pairs of a device are a block of rows; all pairs of the batch are nowhere.
    assert not [a for a in hlo.arrays(program) if a.shape.count(1024) > 1]
    assert 0 < report["estimated_mfu"] < 1


@needs_libtpu
@pytest.mark.slow
def test_two_slices_split_the_batch_and_keep_parameters_inside(tmp_path):
    options = ("--num-slices", "2", "--config.mesh.data=2", "--config.mesh.fsdp=-1")
    report, _ = compiled(tmp_path, "v5e:2x2", *options)
    assert report["mesh"] == {"data": 2, "fsdp": 4, "tensor": 1}
    assert report["fits"]
    assert any(t["kind"] == "all-gather" for t in report["traffic"])


@needs_libtpu
@pytest.mark.slow
def test_what_does_not_fit_is_an_answer(tmp_path):
    report, _ = compiled(tmp_path, "v5e:1x1", "--config.model.remat=none", batch=2**20)
    assert not report["fits"] and report["memory"] is None
    assert "HBM" in report["out_of_memory"]


@needs_libtpu
def test_rows_of_a_process_are_adjacent_in_every_mesh_of_a_pod():
    """Else no process could feed its part of the batch, and no pod could train."""
    code = """
from prolip.compile import topology
topology.quiet_environment()
from prolip import sharding
from prolip.config import ConfigError, MeshConfig
for name, slices, sizes in [
    ("v5e:4x4", 1, (16, 1, 1)), ("v5e:4x4", 1, (2, 8, 1)), ("v5e:4x4", 1, (4, 2, 2)),
    ("v5e:4x4", 1, (2, 1, 8)), ("v5e:16x16", 1, (256, 1, 1)), ("v5e:16x16", 1, (16, 16, 1)),
    ("v5p:8x8x4", 1, (256, 1, 1)), ("v5p:8x8x4", 1, (16, 16, 1)), ("v4:8x8x8", 1, (64, 8, 1)),
    ("v5e:4x4", 2, (32, 1, 1)), ("v5e:4x4", 2, (2, 16, 1)),
]:
    mesh = sharding.make_mesh(MeshConfig(*sizes), topology.find(name, slices).devices)
    rows = {}
    for row, devices in enumerate(mesh.devices.reshape(sizes[0] * sizes[1], -1)):
        for device in devices:
            rows.setdefault(device.process_index, set()).add(row)
    assert all(max(r) - min(r) + 1 == len(r) for r in rows.values()), (name, sizes)
    if slices > 1:  # Each half of `data` is one slice.
        halves = mesh.devices.reshape(slices, -1)
        assert [{d.slice_index for d in half} for half in halves] == [{0}, {1}]
try:
    sharding.make_mesh(MeshConfig(1, 32, 1), topology.find("v5e:4x4", 2).devices)
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not a multiple of the 2 slices" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--topology", "v5litepod-16"), "v5e:16x16"),
        (("--topology", "v9:4x4"), "kinds: v4"),
        (("--topology", "h100:8"), "slices x hosts x GPUs"),
        (("--topology", "v5e:4x4", "--num-slices", "0"), "at least 1"),
    ],
)
def test_a_topology_that_is_not_known_is_a_sentence(words, sentence, capsys):
    assert main(["compile", "--config", "emoji", *words]) == 1
    assert sentence in capsys.readouterr().err


def test_without_the_compiler_a_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["compile", "--config", "emoji", "--topology", "v5e:4x4"]) == 1
    assert "prolip[aot]" in capsys.readouterr().err


def test_chips_have_the_figures_that_their_makers_publish():
    assert {name: chip.peak_flops / 1e12 for name, chip in TPUS.items()} == {
        "v4": 275, "v5e": 197, "v5p": 459, "v6e": 918,
    }  # fmt: skip


@pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda12_plugin") is None, reason="needs the extra `aot-gpu`"
)
@pytest.mark.slow
def test_step_compiles_for_gpus_and_gathers_texts_alone(tmp_path):
    report, _ = compiled(tmp_path, "h100:1x1x8", "--estimate")
    assert report["fits"] and report["num_devices"] == 8
    assert report["estimated_seconds"] is None  # This compiler estimates nothing.
    gathers = [t for t in report["traffic"] if t["kind"] == "all-gather"]
    assert sum(t["nbytes"] for t in gathers) < 2 * 1024 * 64 * 4
