"""Killed at random moments and started again, a run ends in the same bits."""

import json
import signal
import time

import killed_runs
import pytest


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lives")
    lives = killed_runs.Lives(folder)
    return lives, folder, lives.undisturbed(folder / "calm")


@pytest.mark.slow
def test_killed_run_is_bitwise_the_undisturbed_one(lives):
    lives, folder, seconds = lives
    lives.killed(folder / "killed", 3, seconds, seed=1)
    killed_runs.compare(folder / "calm", folder / "killed")


@pytest.mark.slow
def test_sigterm_saves_and_asks_for_a_restart(lives):
    lives, folder, _ = lives
    workdir = folder / "stopped"
    process = lives.start(workdir)
    killed_runs.wait_for_step(workdir, process, 0)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 75
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    saved = max(json.loads(line)["step"] for line in lines)
    # Nothing was lost: the step that was under way is the one that is saved.
    record, arrays = killed_runs.result(workdir)
    assert len(record) == saved == int(arrays["optimizer['step']"])
    assert lives.start(workdir).wait() == 0
    killed_runs.compare(folder / "calm", workdir)


@pytest.mark.slow
def test_another_configuration_is_refused(lives):
    lives, folder, _ = lives
    config = folder / "run.py"
    text = config.read_text()
    try:
        config.write_text(text.replace("width=16", "width=32"))
        log = (folder / "calm.log").read_text()
        assert lives.start(folder / "calm").wait() == 1
        said = (folder / "calm.log").read_text()[len(log) :]
    finally:
        config.write_text(text)
    assert "config.model.image.width: 16 there, 32 here" in said
