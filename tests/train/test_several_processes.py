"""Several real processes: the same numbers, the same samples, and an end for all when one ends."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import killed_runs
import numpy as np
import pytest
import several

from prolip.cli import configuration
from prolip.data.sources.choose import prepare
from prolip.evals.run import evaluate_workdir
from prolip.workdir import Workdir

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = several.Runs(tmp_path_factory.mktemp("runs"))
    prepare(configuration.load(str(runs.folder / "run.py")).data)
    return runs


@pytest.fixture(scope="module")
def one(runs):
    """The whole run in this process, on eight devices."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        runs.here(8, runs.folder / "one", monkeypatch)
    return runs.folder / "one"


@pytest.fixture(scope="module")
def two(runs):
    """The whole run in two processes of two devices."""
    runs.finish(2, 2, "train", runs.folder / "two")
    return runs.folder / "two"


@pytest.fixture(scope="module")
def four(runs):
    """A run in four processes of one device, stopped by SIGTERM before its end."""
    workdir = runs.folder / "four"
    launcher = runs.start(4, 1, "train", workdir)
    try:
        several.wait_for_save(launcher, workdir, 0)
        launcher.terminate()
        assert launcher.wait(timeout=120) == 75, several.said(workdir)
    finally:
        several.stop(launcher)
    return workdir


def assert_same_run(workdir: Path, oracle: Path) -> None:
    """The same samples in the same rows, and losses as near as sums in another order are."""
    got, want = several.record(workdir), several.record(oracle)[: several.STEPS]
    assert [row["step"] for row in got] == [row["step"] for row in want[: len(got)]]
    for a, b in zip(got, want, strict=False):
        assert a["samples_digest"] == b["samples_digest"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5), a["step"]


def test_two_processes_train_as_one(two, one):
    assert len(several.record(two)) == several.STEPS
    assert_same_run(two, one)


def test_four_processes_train_as_one_and_stop_together(four, one):
    # What SIGTERM stopped is saved to the last step that was taken.
    assert several.newest(four) == len(several.record(four)) < several.STEPS
    assert_same_run(four, one)
    assert "saved at step" in several.said(four)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_what_four_processes_saved_goes_on_on_other_devices(devices, runs, four, one, monkeypatch):
    workdir = runs.folder / f"on{devices}"
    shutil.copytree(four, workdir)
    runs.here(devices, workdir, monkeypatch)
    assert len(several.record(workdir)) == several.STEPS
    assert_same_run(workdir, one)


def test_a_stuck_and_a_killed_process_end_all_and_the_restart_loses_nothing(runs, two):
    workdir = runs.folder / "hurt"
    for signal_, code, sentence, watchdog, grace, bound in (
        # What stands still does not end when it is asked to: the launcher waits in vain.
        (signal.SIGSTOP, 76, "has made no progress for", 8, 10, 8 + 10 + 20),
        (signal.SIGKILL, 137, "process 1 was killed by SIGKILL", 100, 40, 40),
    ):
        options = ("--watchdog-seconds", str(watchdog))
        launcher = runs.start(2, 2, "train", workdir, *options, grace=grace)
        try:
            several.wait_for_save(launcher, workdir, several.newest(workdir))
            hurt = time.monotonic()
            os.kill(several.process(launcher, 1), signal_)
            assert launcher.wait(timeout=120) == code, several.said(workdir)
            assert time.monotonic() - hurt < bound
        finally:
            several.stop(launcher)
        assert sentence in several.said(workdir)
    # By a collective, or where that waits for one of its own devices by the missing heartbeat.
    ends = ("process 0 of 2 has lost another process", "another task died")
    assert any(end in (workdir / "logs" / "process_0.log").read_text() for end in ends)
    [stacks] = (workdir / "dumps").glob("stuck_*_process_0.txt")
    assert "in run" in stacks.read_text() and "Thread" in stacks.read_text()
    assert several.newest(workdir) < several.STEPS
    runs.finish(2, 2, "train", workdir)
    (record, arrays), (calm, calm_arrays) = map(killed_runs.result, (workdir, two))
    assert record == calm
    for name, array in calm_arrays.items():
        assert array.tobytes() == arrays[name].tobytes(), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "--config.optimizer.learning_rate=1e-2",
            "config.optimizer.learning_rate is 0.0005 on process 0 and 0.01 on process 1",
        ),
        ("--config.checkpoint.evry=3", "process 1 can't start: unknown key config.checkpoint.evry"),
    ],
)
def test_a_process_of_another_configuration_ends_all_without_a_restart(words, sentence, runs):
    workdir = runs.folder / "other"
    codes, outputs = runs.apart(workdir, [], [words])
    assert codes == [1, 1], outputs  # Launchers start 75, 76 and 77 again.
    assert sentence in outputs[0]
    assert not (workdir / "config.json").exists() and not (workdir / "DONE").exists()


def test_two_processes_evaluate_as_one(runs, two):
    alone = runs.folder / "evaluated"
    shutil.copytree(two, alone)
    step = str(several.STEPS)
    runs.finish(2, 1, "eval", two, "--step", step)
    evaluate_workdir(Workdir(alone), step=several.STEPS, say=lambda _: None)
    got, want = (entries(workdir) for workdir in (two, alone))
    assert got.keys() == want.keys() == {"retrieval", "zero_shot", "uncertainty"}
    for name, metrics in want.items():
        assert got[name] == pytest.approx(metrics, rel=1e-4, abs=1e-6), name
    # Arrays have a row for each image: every item counts once, and in its place.
    for path in alone.glob("evals/*/*.npz"):
        other = np.load(two / path.relative_to(alone))
        for name, array in np.load(path).items():
            assert array.shape == other[name].shape, name
            if np.issubdtype(array.dtype, np.floating):
                np.testing.assert_allclose(other[name], array, rtol=1e-3, atol=1e-4)


def entries(workdir: Path) -> dict[str, dict[str, float]]:
    lines = map(json.loads, (workdir / "evals.jsonl").read_text().splitlines())
    return {line["evaluator"]: line["metrics"] for line in lines}
