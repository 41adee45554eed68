"""Eight CPU devices, no silent broadcasting, one seed."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        # Tests compile much and run little: the program is the same, its machine code is not
        # optimised.
        "--xla_backend_optimization_level=0",
        # A third of the time of compilers that write better code, on one thread: cores are busy.
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
        # In its other order of work, collectives of a loop and of what is beside it can wait for
        # each other for ever: seen with a split of parameters on eight devices.
        "--xla_cpu_enable_concurrency_optimized_scheduler=false",
        # Eight devices on a busy core or two: a collective that waits is slow, not stuck.
        "--xla_cpu_collective_call_terminate_timeout_seconds=600",
        "--xla_cpu_collective_call_warn_stuck_timeout_seconds=300",
    )
)
# Many tests compile the same programs, in processes of their own too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "xla"),
)

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    return jax.random.key(0)


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no process is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
