"""Eight CPU devices, no silent broadcasting, one seed."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
FLAGS = (
    # Tests compile much and run little: the program is the same, its machine code not optimised.
    "--xla_backend_optimization_level=0",
    # Eight devices on a busy core or two: a collective that waits is slow, not stuck.
    "--xla_cpu_collective_call_terminate_timeout_seconds=600",
    "--xla_cpu_collective_call_warn_stuck_timeout_seconds=300",
)
os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *FLAGS))

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    return jax.random.key(0)
