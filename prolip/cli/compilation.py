"""Compiled programs are kept on disk, so that a second start takes seconds."""

import hashlib
import os
import platform
from pathlib import Path


def keep() -> None:
    """Lets JAX keep its compiled programs, unless JAX_COMPILATION_CACHE_DIR already says where.

    An empty JAX_COMPILATION_CACHE_DIR keeps none. Where the place can't be written, or an entry is
    damaged, JAX says so and compiles.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    import jax

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # Programs for CPUs use all that this one can do: homes are shared by machines that differ.
    jax.config.update("jax_compilation_cache_dir", str(base / "prolip" / _processor()))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
        able = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        able = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {able}".encode()).hexdigest()[:16]
