"""Attention by a kernel of its own: split over a mesh by hand, and refused where it can't run."""

import dataclasses

import jax
import numpy as np
import pytest

from prolip import sharding
from prolip.config import (
    ConfigError,
    ImageTowerConfig,
    MeshConfig,
    ModelConfig,
    TextTowerConfig,
    TrainConfig,
)
from prolip.models import attention
from prolip.sharding import spec
from prolip.train import step

BFLOAT16 = ModelConfig(dtype="bfloat16", attention="cudnn")


def inputs():
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, (8, 10, 4, 16)) for key in keys]


def test_each_device_attends_on_its_rows_and_heads_alone():
    *qkv, cotangent = inputs()
    out, pull = jax.vjp(attention.attend, *qkv)
    wanted = [out, *pull(cotangent)]
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2), jax.devices())
    heads = jax.NamedSharding(mesh, spec("batch", "length", "heads", "head_dim"))

    @jax.jit
    def result(*arrays):
        # The kernel itself is not to be had without its GPU: another one goes the same way.
        run = lambda *qkv: attention.per_shard(*qkv, "xla")  # noqa: E731
        out, pull = jax.vjp(run, *arrays[:3])
        return [out, *pull(arrays[3])]

    with jax.set_mesh(mesh):
        arrays = [jax.device_put(x, heads) for x in (*qkv, cotangent)]
        compiled = result.lower(*arrays).compile()
        got = compiled(*arrays)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert a.sharding.shard_shape(a.shape) == (2, 10, 2, 16)
    assert "all-gather" not in compiled.as_text()


def test_without_a_mesh_it_is_the_library_function():
    *qkv, _ = inputs()
    got = attention.per_shard(*qkv, "xla")
    np.testing.assert_allclose(got, attention.attend(*qkv), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "platform", "sentence"),
    [
        ({}, "cpu", "runs on NVIDIA GPUs, not on cpu; einsum runs everywhere"),
        ({}, "tpu", "not on tpu"),
        ({"dtype": "float32"}, "gpu", "needs config.model.dtype bfloat16, not float32"),
        ({"image": ImageTowerConfig(width=960, num_heads=5)}, "gpu", "config.model.image have 192"),
        ({"text": TextTowerConfig(width=80, num_heads=8)}, "gpu", "config.model.text have 10"),
    ],
)
def test_where_the_kernel_does_not_run_a_sentence_says_so(changes, platform, sentence):
    config = dataclasses.replace(BFLOAT16, **changes)
    with pytest.raises(ConfigError, match=sentence):
        attention.check_kernel(config, platform)


def test_it_is_accepted_on_gpus_and_refused_before_a_run_on_cpus():
    attention.check_kernel(BFLOAT16, "gpu")
    attention.check_kernel(ModelConfig(), "cpu")
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    with pytest.raises(ConfigError, match=r"config\.model\.attention"):
        step.check(TrainConfig(model=BFLOAT16), mesh)
