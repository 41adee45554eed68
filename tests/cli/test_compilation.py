"""Compiled programs are kept where they should be, and a second start finds them."""

import inspect
import os
import subprocess
import sys

import jax
import pytest
from jax._src import compiler

from prolip.cli import compilation

PROGRAM = """
import jax, jax.numpy as jnp
from prolip.cli import compilation
compilation.keep()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((4, 4))).block_until_ready()
print(jax.config.jax_compilation_cache_dir)
"""


def run(**variables):
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**kept, **variables},
    )
    return done.stdout.strip()


def entries(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_programs_are_kept_below_the_user_s_cache(tmp_path):
    said = run(XDG_CACHE_HOME=str(tmp_path))
    assert said.startswith(str(tmp_path / "prolip"))
    first = entries(tmp_path)
    assert first
    run(XDG_CACHE_HOME=str(tmp_path))
    assert entries(tmp_path) == first


def test_a_place_of_the_user_s_own_and_none_at_all(tmp_path):
    own = tmp_path / "own"
    assert run(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=str(own)) == str(own)
    assert entries(own)
    run(XDG_CACHE_HOME=str(tmp_path / "other"), JAX_COMPILATION_CACHE_DIR="")
    assert not (tmp_path / "other").exists()


def test_jax_still_writes_by_the_function_that_is_replaced():
    names = [*inspect.signature(compiler._cache_write).parameters]
    order = ["cache_key", "compile_time_secs", "module_name", "backend", "executable"]
    assert names == [*order, "host_callbacks"]


@pytest.mark.parametrize(
    ("process", "backend", "chosen", "directory"),
    [
        (0, "cpu", False, "kept"),
        (2, "cpu", True, "kept/process_2"),
        (2, "gpu", False, "kept/process_2"),
        (2, "gpu", True, "kept"),
    ],
)
def test_each_process_keeps_programs_where_no_other_writes(
    process, backend, chosen, directory, monkeypatch
):
    monkeypatch.setattr(jax, "process_index", lambda: process)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(compiler, "_cache_write", compiler._cache_write)
    monkeypatch.delenv(compilation.DIRECTORY, raising=False)
    if chosen:
        monkeypatch.setenv(compilation.DIRECTORY, "kept")
    before, original = jax.config.jax_compilation_cache_dir, compiler._cache_write
    jax.config.update("jax_compilation_cache_dir", "kept")
    try:
        compilation.keep_in_each_process()
        assert jax.config.jax_compilation_cache_dir == directory
        assert (compiler._cache_write is original) == (directory == "kept")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
