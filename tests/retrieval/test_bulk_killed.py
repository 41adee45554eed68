"""Killed at random moments, a collection has each item once, with the numbers of a calm run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "words", [["25"], pytest.param(["3", "real"], marks=pytest.mark.slow)], ids=" ".join
)
def test_kills_leave_no_gap_and_no_double(words):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)])}
    command = [sys.executable, str(HERE / "killed_embeddings.py"), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    kills, _, halfway = (int(word) for word in done.stdout.split() if word.isdigit())
    assert kills >= int(words[0]) and halfway >= kills // 4, done.stdout
