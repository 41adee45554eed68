"""The train step of a configuration as an executable for a mesh, without a state or a batch."""

import re
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prolip import sharding
from prolip.config import ConfigError, TrainConfig
from prolip.data.records import Batch
from prolip.models import two_tower
from prolip.train import optimizer, step
from prolip.train.state import abstract_state

# Which ids a tokenizer pads and masks with are constants that cost nothing: any do.
TEXT_IDS = step.TextIds(pad=0, mask=1)

# What compilers for TPU, GPU and CPU say where a program is too large for the memory.
_TOO_LARGE = re.compile(r"RESOURCE_EXHAUSTED|[Oo]ut of memory|exceeds available HBM")


class Compiled(NamedTuple):
    """An executable; or why there is none, where the step needs more memory than a device has."""

    executable: Any | None
    out_of_memory: str  # "" where the step fits.
    seconds: float  # Of tracing, lowering and compiling.


def compile_step(
    config: TrainConfig, mesh: jax.sharding.Mesh, options: dict[str, str] | None = None
) -> Compiled:
    """Compiles what `prolip train` runs, laid out on `mesh` by the same rules.

    Args:
      config: the whole experiment.
      mesh: of devices that are there, or of a topology that is not.
      options: of the compiler, by name.

    Raises:
      ConfigError: the configuration does not fit the mesh.
    """
    began = time.monotonic()
    lowered = lower_step(config, mesh)
    try:
        executable = lowered.compile(compiler_options=_typed(options or {}))
    except jax.errors.JaxRuntimeError as error:
        if not _TOO_LARGE.search(str(error)):
            raise
        return Compiled(None, _reason(str(error)), time.monotonic() - began)
    return Compiled(executable, "", time.monotonic() - began)


def lower_step(config: TrainConfig, mesh: jax.sharding.Mesh) -> Any:
    """The traced step with the layouts of its arguments.

    Raises:
      ConfigError: the configuration does not fit the mesh, or itself.
    """
    two_tower.check(config.model)
    step.check(config, mesh)
    if config.model.attention == "cudnn" and jax.default_backend() != "gpu":
        raise ConfigError(
            "config.model.attention: cudnn can be compiled only where cuDNN and a GPU are; compile "
            "einsum, which needs more memory"
        )
    optimizer.check(config.optimizer, config.total_steps)
    model = two_tower.build(config.model)
    transformation = optimizer.make_optimizer(config.optimizer, config.total_steps)
    rate = optimizer.schedule(config.optimizer, config.total_steps)
    train_step: Any = step.make_train_step(model, transformation, rate, config, TEXT_IDS)
    state = abstract_state(model, transformation, mesh)
    # The functions that lay out activations ask for the mesh that is set; an abstract one will do.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        traced = train_step.trace(state, abstract_batch(config, mesh))
        # Devices of a topology say "gpu", which JAX takes for a backend that has to be there.
        platform = mesh.devices.flat[0].platform
        return traced.lower(lowering_platforms=("cuda" if platform == "gpu" else platform,))


def abstract_batch(config: TrainConfig, mesh: jax.sharding.Mesh) -> Batch:
    """Shapes, dtypes and layouts of a global batch."""
    layout = jax.sharding.NamedSharding(mesh, sharding.spec("batch"))
    rows, size = config.global_batch, config.model.image.image_size

    def array(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *shape), dtype, sharding=layout)

    return Batch(
        image=array(jnp.uint8, size, size, 3),
        text=array(jnp.int32, config.model.text.length),
        caption=array(jnp.int32),
        captions=array(jnp.int32, config.data.max_captions),
        index=array(jnp.int32),
        image_id=array(jnp.int32, 2),
    )


def parse_options(words: list[str]) -> dict[str, str]:
    """`["name=value"]` to a dictionary.

    Raises:
      ConfigError: a word of another form.
    """
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ConfigError(f"--xla {word!r}: an option of the compiler is written NAME=VALUE")
        options[name] = value
    return options


def _typed(options: dict[str, str]) -> dict[str, str | bool]:
    """JAX takes truth values as such."""
    truth = {"true": True, "false": False}
    return {name: truth.get(value.lower(), value) for name, value in options.items()}


def _reason(message: str) -> str:
    """The sentence of the compiler that says how much is missing."""
    for line in message.splitlines():
        if _TOO_LARGE.search(line):
            return " ".join(line.replace("RESOURCE_EXHAUSTED:", "").split())
    return " ".join(message.split())[:300]
