"""A process without signs of life ends with its code, a sentence and the stacks of all threads."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from prolip.exit_codes import STUCK
from prolip.watchdog import Watchdog

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import pathlib, sys, time
from prolip.watchdog import Watchdog
with Watchdog(0.3, pathlib.Path(sys.argv[1]), 5, lambda s: print(s, flush=True)) as watchdog:
    for step in range(4):
        watchdog.alive(f"step {step}")
        time.sleep(0.15)
    watchdog.idle("a wait of any length")
    time.sleep(1.0)
    print("waited", flush=True)
    watchdog.alive("the last step")
    def sleeps_for_ever():
        time.sleep(600)
    sleeps_for_ever()
"""


def test_only_a_silent_process_is_ended(tmp_path):
    got = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "dumps")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert got.returncode == STUCK
    waited, sentence = got.stdout.splitlines()
    assert waited == "waited"
    assert sentence.startswith("process 5 has made no progress for 0 s since the last step")
    [stacks] = (tmp_path / "dumps").glob("stuck_*_process_5.txt")
    assert str(stacks) in sentence and "sleeps_for_ever" in stacks.read_text()


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_watchdog_that_is_left_or_off_ends_nothing(seconds, tmp_path):
    with Watchdog(seconds, tmp_path, 0, pytest.fail) as watchdog:
        if not seconds:
            watchdog.alive("a long step")
            time.sleep(0.2)
    time.sleep(0.2)
    assert not list(tmp_path.iterdir())
