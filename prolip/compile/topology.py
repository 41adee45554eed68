"""Devices of an accelerator that this machine doesn't have, for the compiler alone.

A TPU topology needs libtpu, a GPU topology the CUDA plugin of JAX; neither needs the accelerator.
"""

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from prolip.compile import gpus
from prolip.config import ConfigError

GIB = 2**30


class Chip(NamedTuple):
    """Public figures of one device, as the compiler counts devices."""

    peak_flops: float  # Of bfloat16 products, per second.
    # Of the core; the one that turns the compiler's cycles into the published peak. 0: unknown.
    clock_hz: float
    usable_bytes: float  # Of its memory, what the compiler lets a program have.


# Sources: cloud.google.com/tpu/docs (peak, memory), and what the compiler of libtpu 0.0.42 says it
# has left of the memory when a program is too large. The clock of v6e is a guess.
TPUS = {
    "v4": Chip(275e12, 1.05e9, 30.75 * GIB),  # Both cores of a chip as one device.
    "v5e": Chip(197e12, 1.5e9, 15.75 * GIB),
    "v5p": Chip(459e12, 1.75e9, 95.74 * GIB),
    "v6e": Chip(918e12, 1.75e9, 31.25 * GIB),
}

INSTALL = {
    "tpu": ("libtpu", "the compiler for TPUs is not installed: pip install 'prolip[aot]'"),
    "cuda": (
        "jax_cuda12_plugin",
        "the compiler for GPUs is not installed: pip install 'prolip[aot-gpu]'",
    ),
}


class Topology(NamedTuple):
    """What to compile for."""

    name: str
    platform: str  # "tpu" or "cuda".
    chip: Chip
    devices: Sequence[Any]
    options: dict[str, str]  # That the compiler needs where there is no device.


def quiet_environment() -> None:
    """Keeps JAX from looking for an accelerator; call it before JAX starts a backend."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    # Compiling needs no device, so that two processes may do it.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    # What libtpu asks the machine for, which is none of these.
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_MIN_LOG_LEVEL", "3")


def find(name: str, num_slices: int = 1) -> Topology:
    """A topology by name.

    Args:
      name: generation and shape: `v5e:16x16`, `v5p:8x8x4`; for GPUs `h100:1x4x8`, which is
        slices x hosts x GPUs of a host.
      num_slices: of a TPU, joined by the network of the data center.

    Raises:
      ConfigError: unknown name, or the compiler for it is not installed.
    """
    found = re.fullmatch(r"(\w+):(\d+(?:x\d+)+)", name)
    kinds = ", ".join((*TPUS, *gpus.GPUS))
    if not found or found[1] not in (*TPUS, *gpus.GPUS):
        raise ConfigError(
            f"--topology {name}: give a kind and a shape, such as v5e:16x16, v5p:8x8x4 or "
            f"h100:1x1x8 (slices x hosts x GPUs); kinds: {kinds}"
        )
    kind, shape = found[1], tuple(map(int, found[2].split("x")))
    platform = "tpu" if kind in TPUS else "cuda"
    module, advice = INSTALL[platform]
    if not importlib.util.find_spec(module):
        raise ConfigError(f"--topology {name}: {advice}")
    quiet_environment()
    try:
        if platform == "tpu":
            return Topology(name, platform, TPUS[kind], _tpus(kind, shape, num_slices), {})
        if num_slices != 1 or len(shape) != 3:
            raise ConfigError(
                f"--topology {name}: GPUs are given as slices x hosts x GPUs of a host, such as "
                f"{kind}:{num_slices}x1x8"
            )
        return _gpus(name, kind, found[2])
    except ConfigError:
        raise
    except Exception as error:  # Of several kinds, from two compilers.
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"--topology {name}: the compiler refuses it: {reason}") from error


def _tpus(kind: str, shape: tuple[int, ...], num_slices: int) -> Sequence[Any]:
    from jax.experimental import topologies

    options: dict[str, Any] = {}
    if shape in ((1, 1), (1, 1, 1)):
        options["chips_per_host_bounds"] = (1, 1, 1)
    if kind == "v4":
        options["chip_config_name"] = "megacore"
    if num_slices > 1:
        options["num_slices"] = num_slices
    text = f"{kind}:{'x'.join(map(str, shape))}"
    return topologies.get_topology_desc(platform="tpu", topology_name=text, **options).devices


def _gpus(name: str, kind: str, shape: str) -> Topology:
    from jax.experimental import topologies

    gpu = gpus.GPUS[kind]
    described = topologies.get_topology_desc(
        platform="cuda",
        topology_name=shape,
        topology=shape,
        target_config=gpu.target_config,
    )
    # JAX leaves most of the memory to its pool, and some to the driver.
    chip = Chip(gpu.peak_flops, 0.0, 0.92 * gpu.memory_bytes)
    return Topology(name, "cuda", chip, described.devices, dict(gpus.OPTIONS))
