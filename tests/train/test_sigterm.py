"""SIGTERM to runs of several processes that resume, at random moments of each life.

PROLIP_LIVES=30 pytest tests/train/test_sigterm.py -m slow -s      as a campaign; prints each life
"""

import os
import random
import signal
import time

import pytest
import several

from prolip.cli import configuration
from prolip.data.sources.choose import prepare

LIVES = int(os.environ.get("PROLIP_LIVES", "3"))
STEPS = 40 + 20 * LIVES
SECONDS = 60  # From the signal to the end of all processes.


class Runs(several.Runs):
    """As there, with a batch that two and three processes divide, and enough steps."""

    def __init__(self, folder):
        super().__init__(folder)
        text = self._config.read_text().replace("global_batch=32", "global_batch=12")
        text = text.replace(f"total_steps={several.STEPS}", f"total_steps={STEPS}")
        self._config.write_text(text)
        fast = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
        self._env["XLA_FLAGS"] = fast


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_a_resumed_run_answers_sigterm_at_any_moment(processes, tmp_path):
    runs, chance = Runs(tmp_path), random.Random(processes)
    prepare(configuration.load(str(tmp_path / "run.py")).data)
    workdir = tmp_path / "run"
    launcher = runs.start(processes, 1, "train", workdir)
    several.wait_for_save(launcher, workdir, 0)
    launcher.terminate()
    assert launcher.wait(timeout=SECONDS) == 75, several.said(workdir)
    for life in range(LIVES):
        launcher = runs.start(processes, 1, "train", workdir)
        try:
            answered, moment = stop_somewhere(launcher, workdir, processes, chance)
            print(f"{processes} processes, life {life}: {moment}, {answered}", flush=True)
        finally:
            several.stop(launcher)
        code, seconds = answered
        assert code in (75, 0) and seconds < SECONDS, several.said(workdir)
        # Nothing that was done is done again.
        assert several.newest(workdir) == len(several.record(workdir))
        if code == 0:
            break
    runs.finish(processes, 1, "train", workdir)
    assert [row["step"] for row in several.record(workdir)] == list(range(1, STEPS + 1))


def stop_somewhere(launcher, workdir, processes, chance):
    """Sends the signal; returns (exit code, seconds until the end) and the moment, in words."""
    steps, began = workdir / "throughput.jsonl", time.time()
    early = chance.random() < 0.6
    if not early:
        while launcher.poll() is None and steps.stat().st_mtime < began:
            time.sleep(0.01)
    wait = chance.uniform(0, 12 if early else 1.5)
    time.sleep(wait)
    target = chance.randrange(-1, processes)
    before = len(several.record(workdir))
    told = time.monotonic()
    try:
        pid = launcher.pid if target < 0 else several.process(launcher, target)
        os.kill(pid, signal.SIGTERM)
    except (OSError, AssertionError):
        target = None  # It has not been started, or has ended.
        launcher.terminate()
    code = launcher.wait(timeout=300)
    moment = f"{wait:.1f} s after {'the start' if early else 'a step'} to {target}, at {before}"
    return (code, round(time.monotonic() - told, 1)), moment
