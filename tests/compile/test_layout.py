"""The layout by arithmetic agrees with arrays and with a compiled program."""

import dataclasses
import json

import jax
import pytest

from prolip import sharding
from prolip.cli.describe import mesh_config
from prolip.cli.main import main
from prolip.compile import hlo, program
from prolip.compile.layout import layout
from prolip.compile.report import read_memory
from prolip.config import ConfigError, MeshConfig, ObjectiveConfig, OptimizerConfig, TrainConfig
from prolip.models import sizes, two_tower


def config_of(remat="none", **changes):
    model = dataclasses.replace(sizes.TINY, remat=remat)
    return dataclasses.replace(
        TrainConfig(global_batch=256, model=model, mesh=MeshConfig(8, 1, 1)), **changes
    )


@pytest.mark.parametrize("sizes_", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_parameters_and_moments_take_what_their_shards_take(sizes_):
    config = config_of(mesh=MeshConfig(*sizes_))
    mesh = sharding.make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        params = jax.jit(two_tower.build(config.model).init)(jax.random.key(0))
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(params))
    found = layout(config)
    assert found.parameters == held
    assert 0 <= found.optimizer - 2 * held < 100  # And a few counters.


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"objective": ObjectiveConfig(inclusion_masked=0.0)},
        # Once, in float32, whatever uses the parameters: masked views, parts of the batch.
        {"accumulation_steps": 4},
        {"model": dataclasses.replace(sizes.TINY, dtype="bfloat16", remat="full", block_rows=8)},
        {
            "model": dataclasses.replace(sizes.TINY, heads="adapter"),
            "optimizer": OptimizerConfig(frozen="towers"),
        },
    ],
    ids=["plain", "masked and accumulated", "masked and in blocks", "frozen towers"],
)
def test_gradients_are_exchanged_as_the_compiled_step_does(changes):
    config = config_of(**changes)
    found = {e.what: e for e in layout(config).exchanges}
    compiled = program.compile_step(config, sharding.make_mesh(config.mesh))
    exchanges = hlo.collectives(hlo.parse(compiled.executable.as_text()))
    reduced = sum(c.nbytes for c in exchanges if c.kind == "all-reduce")
    wanted = found["gradients"].nbytes
    if config.optimizer.frozen == "none":
        wanted += found["gradients of the texts"].nbytes
    assert reduced == pytest.approx(wanted, rel=0.25)
    # Texts, and their rows where they are looked up; no parameter is gathered.
    gathered = sum(c.nbytes for c in exchanges if c.kind == "all-gather")
    assert gathered < 3 * found["texts of the loss"].nbytes
    memory = read_memory(compiled.executable)
    kept = layout(config)
    assert memory.reused == pytest.approx(kept.parameters + kept.optimizer, rel=0.01)


@pytest.mark.slow
def test_masked_views_gather_no_weights_of_their_own():
    def gathered(masked):
        config = config_of(
            "full", mesh=MeshConfig(4, 2, 1), objective=ObjectiveConfig(inclusion_masked=masked)
        )
        told = {e.what: e for e in layout(config).exchanges}["weights of the layers"].nbytes
        step = program.compile_step(config, sharding.make_mesh(config.mesh)).executable.as_text()
        found = hlo.collectives(hlo.parse(step))
        return told, sum(c.nbytes for c in found if c.kind == "all-gather")

    (told, plain), (told_, with_views) = gathered(0.0), gathered(0.1)
    assert told_ == told
    assert with_views == pytest.approx(plain, rel=0.1)


def test_remat_and_accumulation_keep_less():
    kept = [layout(config_of(remat)).activations for remat in ("none", "dots", "hidden", "full")]
    assert kept == sorted(kept, reverse=True)
    assert layout(config_of(accumulation_steps=4)).activations < kept[0] / 3


def test_sharded_parameters_are_gathered_and_their_gradients_scattered():
    found = layout(config_of(mesh=MeshConfig(2, 2, 2)))
    assert {(e.kind, e.axes) for e in found.exchanges} == {
        ("all-gather", "fsdp"),
        ("reduce-scatter", "fsdp"),
        ("all-reduce", "data"),
        ("all-reduce", "tensor"),
        ("all-gather", "data, fsdp"),
        ("all-reduce", "data, fsdp"),
    }


def test_the_command_prints_it(capsys):
    words = ["describe", "--config", "emoji", "--mesh", "data=2,fsdp=4", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["mesh"] == {"data": 2, "fsdp": 4, "tensor": 1}
    assert main(["describe", "--config", "emoji", "--mesh", "data=2"]) == 0
    assert "activations, estimated" in capsys.readouterr().out


def test_meshes_that_say_nothing_are_refused():
    with pytest.raises(ConfigError, match="data=2,fsdp=4,tensor=1"):
        mesh_config("rows=2")
    with pytest.raises(ConfigError, match="needs all sizes"):
        layout(config_of(mesh=MeshConfig(-1, 1, 1)))
