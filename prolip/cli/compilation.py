"""Compiled programs are kept on disk, so that a second start takes seconds."""

import hashlib
import os
import platform
import warnings
from pathlib import Path
from typing import Any

DIRECTORY = "JAX_COMPILATION_CACHE_DIR"


def keep() -> None:
    """Lets JAX keep its compiled programs, unless JAX_COMPILATION_CACHE_DIR already says where.

    An empty JAX_COMPILATION_CACHE_DIR keeps none. Where the place can't be written, or an entry is
    damaged, JAX says so and compiles.
    """
    if DIRECTORY in os.environ:
        return
    import jax

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # Programs for CPUs use all that this one can do: homes are shared by machines that differ.
    jax.config.update("jax_compilation_cache_dir", str(base / "prolip" / _processor()))


def keep_in_each_process() -> None:
    """Lets processes other than 0 keep their programs too, each in a directory of its own.

    JAX writes from process 0 alone. That warms the start of the others only where they see the
    same directory and run the same program; one for CPUs names its process. A directory that the
    user has chosen is left alone for GPUs and TPUs, whose processes share what process 0 wrote.
    """
    import jax

    config: Any = jax.config  # Whose attributes it declares nowhere.
    directory = config.jax_compilation_cache_dir
    if not directory or jax.process_index() == 0:
        return
    if jax.default_backend() != "cpu" and DIRECTORY in os.environ:
        return
    # Not the same directory: several that write the same entry at once could tear it.
    own = Path(directory) / f"process_{jax.process_index()}"
    config.update("jax_compilation_cache_dir", str(own))
    _write_here()


def _write_here() -> None:
    """Replaces JAX's writer, which has no option for this, by one that asks for no process."""
    import jax
    from jax._src import compilation_cache, compiler

    config: Any = jax.config
    replaced: Any = compiler

    def write(
        key: str, seconds: float, name: str, backend: Any, executable: Any, callbacks: Any
    ) -> None:
        if callbacks or seconds < config.jax_persistent_cache_min_compile_time_secs:
            return
        try:
            compilation_cache.put_executable_and_time(key, name, executable, backend, int(seconds))
        except Exception as error:  # Only the next start would have been faster.
            warnings.warn(f"{name} is not kept: {type(error).__name__}: {error}", stacklevel=2)

    if hasattr(replaced, "_cache_write"):
        replaced._cache_write = write


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
        able = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        able = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {able}".encode()).hexdigest()[:16]
