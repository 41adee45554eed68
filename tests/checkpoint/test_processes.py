"""Real saves in real processes: killed at random, and two at a time."""

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkpoint_trees import abstract_of, same, tree_of

from prolip.checkpoint import CheckpointStore

HERE = Path(__file__).parent


def start(*arguments):
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    env = os.environ | {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, HERE / "real_saves.py", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=env, text=True, **pipes)


@pytest.mark.slow
def test_killed_runs_go_on_from_a_good_step(tmp_path, mesh):
    """Random kills of real saves; every step that is listed holds what was saved, bit for bit."""
    draw = random.Random(0)
    newest = 0
    for _ in range(5):
        run = start(tmp_path)
        assert int(run.stdout.readline()) == newest, run.stderr.read()
        time.sleep(draw.uniform(0.05, 1.0))
        run.kill()
        run.communicate()
        store = CheckpointStore(tmp_path, write=False)
        for step in store.steps():
            got = store.restore(step, "params", abstract_of(tree_of(mesh)))
            assert same(got, tree_of(mesh, step))
        assert (store.latest() or 0) >= newest
        newest = store.latest() or 0
    assert newest > 5
    with CheckpointStore(tmp_path, write=True) as store:
        assert store.latest() == newest
    assert not list((tmp_path / "trash").iterdir()) and not (tmp_path / "damaged").exists()


@pytest.mark.slow
def test_two_processes_save_and_restore_together(tmp_path):
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    runs = [start(tmp_path, port, process) for process in range(2)]
    for run in runs:
        output, errors = run.communicate(timeout=120)
        assert output.split()[-1:] == ["good"], output + errors
    one = CheckpointStore(tmp_path, write=False)
    assert one.steps() == [2, 3]
