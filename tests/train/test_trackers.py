"""TensorBoard and wandb: what they get, and that none of them ends or delays a run."""

import sys
import threading
import types

import pytest

from prolip.config import ConfigError, LoggingConfig
from prolip.train import trackers
from prolip.train.metrics import Log
from prolip.train.trackers import Tracker
from prolip.workdir import Workdir, read_jsonl

SCALARS = {"loss": 1.5, "learning_rate": 0.25}


class Recorder:
    """A writer that remembers, and fails or waits where it is told to."""

    def __init__(self, fail=(), wait=None):
        self.steps, self.closed, self._fail, self._wait = [], False, fail, wait

    def write(self, step, scalars):
        if self._wait is not None:
            self._wait.wait()
        if step in self._fail:
            raise RuntimeError("no space left\nand more")
        self.steps.append(step)

    def flush(self):
        pass

    def close(self):
        self.closed = True


def test_a_tracker_gets_all_steps_in_order_and_is_closed():
    writer, said = Recorder(), []
    tracker = Tracker("wandb", lambda: writer, said.append)
    for step in range(5):
        tracker.write(step, SCALARS)
    tracker.close()
    assert writer.steps == [0, 1, 2, 3, 4] and writer.closed and not said


def test_a_failure_is_told_once_and_ends_the_tracker_alone(tmp_path):
    writer, said = Recorder(fail=(2, 3, 4)), []
    log = Log(LoggingConfig(tensorboard=False), Workdir(tmp_path), 0, {}, said.append)
    log._copies = [Tracker("wandb", lambda: writer, said.append)]
    for step in range(5):
        log.write(step, SCALARS, {})
        log.flush()
    log.close()
    assert writer.steps == [0, 1]
    [sentence] = said
    assert "wandb failed (RuntimeError: no space left) and gets no more metrics" in sentence
    assert [row["step"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [0, 1, 2, 3, 4]


def test_a_tracker_that_can_not_start_is_told_and_the_run_goes_on():
    def make():
        raise OSError("no network")

    said = []
    tracker = Tracker("wandb", make, said.append)
    tracker.write(1, SCALARS)
    tracker.flush()
    tracker.close()
    assert len(said) == 1 and "no network" in said[0]


def test_neither_a_step_nor_the_end_waits_for_a_tracker_that_hangs(monkeypatch):
    monkeypatch.setattr(trackers.Tracker.__init__, "__defaults__", (0.05,))
    go, said = threading.Event(), []
    tracker = Tracker("wandb", lambda: Recorder(wait=go), said.append)
    tracker.write(1, SCALARS)
    tracker.close()
    assert "wandb did not finish within 0.05 s" in said[0] and len(said) == 1
    behind = Tracker("TensorBoard", lambda: Recorder(wait=go), said.append)
    for step in range(trackers.WAITING + 5):
        behind.write(step, SCALARS)
    assert "TensorBoard is 1000 logged steps behind" in said[1] and len(said) == 2
    go.set()


def test_wandb_gets_one_run_that_goes_on_after_a_resume(tmp_path, monkeypatch):
    made = []

    class Run:
        def __init__(self, **options):
            self.options, self.rows = options, []
            made.append(self)

        def log(self, row, step):
            self.rows.append((step, row))

        def finish(self):
            self.rows.append("finished")

    module = types.ModuleType("wandb")
    module.init, module.Settings = Run, lambda **options: options
    monkeypatch.setitem(sys.modules, "wandb", module)
    config, said = LoggingConfig(tensorboard=False, wandb_project="mine"), []
    for step in (0, 1):
        [tracker] = trackers.make_trackers(config, Workdir(tmp_path), step, {"a": 1}, said.append)
        tracker.write(step + 1, SCALARS)
        tracker.close()
    first, second = made
    assert first.rows == [(1, SCALARS), "finished"] and second.rows[0][0] == 2 and not said
    assert first.options["id"] == second.options["id"] and len(first.options["id"]) == 8
    assert first.options["project"] == "mine" and first.options["resume"] == "allow"
    assert 0 < first.options["settings"]["finish_timeout"] < trackers.CLOSE_SECONDS


def test_the_real_wandb_takes_the_metrics_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    said = []
    config = LoggingConfig(tensorboard=False, wandb_project="mine")
    for step in (0, 1):
        [tracker] = trackers.make_trackers(config, Workdir(tmp_path), step, {"a": 1}, said.append)
        tracker.write(step + 1, SCALARS | {"grad_norm": float("nan")})
        tracker.close()
    assert not said
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 2


def test_a_tracker_that_is_not_installed_is_refused_at_the_start(monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs wandb: pip install 'prolip\[wandb\]'"):
        trackers.check(LoggingConfig(wandb_project="mine"))
    trackers.check(LoggingConfig())
