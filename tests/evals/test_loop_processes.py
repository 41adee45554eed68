"""Several evaluators of one run are several processes: they share its steps and lose none."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from prolip.checkpoint import CheckpointStore, lease

STEPS = tuple(range(1, 7))

# Says when it begins with a step, and goes on when it is told to.
WORKER = """
import sys
from prolip.checkpoint import CheckpointStore
from prolip.evals.context import EvalResult
from prolip.evals.loop import evaluate_steps
workdir = sys.argv[1]
def evaluate(step):
    print(step, flush=True)
    sys.stdin.readline()
    def one(name):
        if name == "failing":
            raise RuntimeError("it always does")
        return EvalResult({f"{name}/step": float(step)})
    return one
outcome = evaluate_steps(workdir, store=CheckpointStore(workdir + "/checkpoints", write=False),
    evaluators=["first", "failing", "second"][:int(sys.argv[2])], config="c", evaluate=evaluate,
    poll_seconds=0.05, say=lambda text: None)
sys.exit(outcome.exit_code)
"""


@pytest.fixture
def workdir(tmp_path):
    with CheckpointStore(tmp_path / "checkpoints", write=True) as store:
        for step in STEPS:
            store.save(step, {"params": {"w": jnp.full(4, step)}}, {}, {})
            store.wait()
    return tmp_path


def start(workdir, evaluators):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(workdir), str(evaluators)],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "JAX_PLATFORMS": "cpu",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def lines(workdir):
    rows = [json.loads(line) for line in (workdir / "evals.jsonl").read_text().splitlines()]
    return [(row["step"], row["evaluator"], row["config"]) for row in rows]


def go_on(worker):
    worker.stdin.write("\n")


def test_two_processes_take_different_steps_and_each_is_there_once(workdir):
    with start(workdir, 1) as one, start(workdir, 1) as other:
        took = {one: [], other: []}
        for _ in range(len(STEPS) // 2):
            # Both are in the middle of a step at once, whichever began first.
            for worker in (one, other):
                took[worker].append(int(worker.stdout.readline()))
            for worker in (one, other):
                go_on(worker)
        assert one.wait(60) == other.wait(60) == 0
        assert one.stdout.read() == other.stdout.read() == ""
    assert sorted(took[one] + took[other]) == list(STEPS)
    for own in took.values():
        assert own == sorted(own)
    assert sorted(lines(workdir)) == [(step, "first", "c") for step in STEPS]


def test_what_a_killed_process_held_is_taken_by_the_other(workdir):
    with start(workdir, 3) as one, start(workdir, 3) as other:
        held = [int(worker.stdout.readline()) for worker in (one, other)]
        one.send_signal(signal.SIGKILL)
        one.wait(60)
        took = [held[1]]
        go_on(other)
        while line := other.stdout.readline():
            took.append(int(line))
            go_on(other)
        assert other.wait(60) == 1  # An evaluator failed.
    # The step that the first one held comes again, and none twice.
    assert sorted(took) == list(STEPS) and held[0] in took[1:]
    assert sorted(lines(workdir)) == [
        (step, name, "c") for step in STEPS for name in ("first", "second")
    ]
    assert len(list((workdir / "evals").glob("*/failing.failed.json"))) == len(STEPS)
    assert not list((workdir / "evals").glob("*/claim"))
    # What is left of the dead one's lease holds nothing.
    left = (workdir / "checkpoints" / "readers").glob("[0-9]*")
    assert not any(lease.is_held(path, 60.0) for path in left)
