"""Every script in examples/ runs on a model trained for a moment, and says what it should."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Script -> what a line of its output looks like.
EXPECTED = {
    "score": [r"^yes smileys emotion +\d\.\d{5} +\d\.\d{3} +\d\.\d{3}$", r"^no +petri dish "],
    "uncertainty": [r"^most uncertain captions$", r"^ +2-3: \d\.\d{5} \(\d+ captions\)$"],
    "inclusion": [r"^'face': uncertainty \d\.\d{5}$", r"^  near and more specific: "],
    "prompts": [r"^  re-weighted, 16 shots +accuracy \d\.\d{3}$", r"^  Flags: \d\.\d\d of the"],
    "search": [r"^'face': uncertainty", r"^1\. [+-]\d\.\d{3}  image \d+: "],
}
ARGUMENTS = {"search": ["face"]}

pytestmark = pytest.mark.slow


def run(*command):
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("examples") / "run"
    overrides = ["total_steps=20", "optimizer.warmup_steps=5", "global_batch=64"]
    options = [f"--config.{override}" for override in overrides]
    run("-m", "prolip.cli.main", "train", "--config", "emoji", "--workdir", path, *options)
    return path


def test_every_example_is_tested():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example_runs(name, workdir):
    said = run(ROOT / "examples" / f"{name}.py", workdir, *ARGUMENTS.get(name, ()))
    for pattern in EXPECTED[name]:
        assert re.search(pattern, said, re.MULTILINE), said
