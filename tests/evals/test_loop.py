"""The evaluation of checkpoints: each once, in order, whatever dies and whatever is damaged.

Long because all cases drive the same two processes, a writer and an evaluator, set up here.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from stepwise import NAMES, lines, metrics_of, run, save

from prolip.checkpoint import CheckpointError, CheckpointStore
from prolip.config import CheckpointConfig
from prolip.evals import ledger
from prolip.evals.context import EvalResult
from prolip.evals.ledger import Ledger
from prolip.exit_codes import RESTART


def evaluated(workdir):
    return [(line["step"], line["evaluator"]) for line in lines(workdir)]


def flip_byte(workdir, step):
    largest = max(
        (p for p in (workdir / "checkpoints" / str(step)).rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    save(workdir, [1, 2, 10])
    return workdir


@pytest.fixture
def workdir(three_steps, tmp_path):
    target = tmp_path / "run"
    subprocess.run(["cp", "-r", three_steps, target], check=True)
    return target


def test_every_step_once_oldest_first_and_again_nothing(workdir):
    outcome, _ = run(workdir)
    assert outcome.evaluated == [1, 2, 10] and outcome.exit_code == 0
    assert evaluated(workdir) == [(s, n) for s in (1, 2, 10) for n in NAMES]
    before = (workdir / "evals.jsonl").read_bytes()
    outcome, _ = run(workdir, evaluate=lambda step: pytest.fail("evaluated again"))
    assert outcome.evaluated == []
    assert (workdir / "evals.jsonl").read_bytes() == before


def test_a_finished_run_on_a_read_only_disk_is_no_error(workdir, monkeypatch):
    run(workdir)

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Ledger, "_locked", read_only)
    outcome, _ = run(workdir, evaluate=lambda step: pytest.fail("evaluated again"))
    assert outcome.exit_code == 0 and outcome.evaluated == []


def test_artefacts_of_a_result_are_found_through_its_entry(workdir):
    run(workdir, step=2)
    (first, _) = ledger.entries(workdir)
    assert first.metrics == {"first/step": 2.0}
    folder = Ledger(workdir, "c").folder(first.step, first.manifest)
    with np.load(folder / "first.npz") as arrays:
        np.testing.assert_array_equal(arrays["a"], [0, 1])
    assert json.loads((folder / "first.json").read_text()) == {"n": 2}
    assert evaluated(workdir) == [(2, "first"), (2, "second")]


def test_a_new_evaluator_or_configuration_is_evaluated_for_itself(workdir):
    run(workdir, evaluators=("first",))
    outcome, _ = run(workdir)
    assert outcome.evaluated == [1, 2, 10]
    assert evaluated(workdir)[3:] == [(1, "second"), (2, "second"), (10, "second")]
    run(workdir, config="other")
    assert len(lines(workdir)) == 12
    assert {line["config"] for line in lines(workdir)} == {"c", "other"}


def test_a_step_that_is_trained_again_is_new(workdir):
    run(workdir)
    with CheckpointStore(workdir / "checkpoints", write=True) as store:
        store.save(10, {"params": {"w": jnp.full(4, -1.0)}}, {}, {})
        store.wait()
    outcome, _ = run(workdir)
    assert outcome.evaluated == [10]
    assert evaluated(workdir)[-2:] == [(10, "first"), (10, "second")]
    assert len({line["manifest"] for line in lines(workdir)}) == 4


def test_a_failing_evaluator_does_not_stop_the_others(workdir):
    def evaluate(step):
        def one(name):
            if name == "first" and step == 2:
                raise RuntimeError("no memory left")
            return metrics_of(step)(name)

        return one

    outcome, said = run(workdir, evaluate)
    assert outcome.exit_code == 1 and list(outcome.failed) == ["2/first"]
    assert any("step 2: first failed: RuntimeError: no memory left" in s for s in said)
    assert evaluated(workdir) == [
        (1, "first"),
        (1, "second"),
        (2, "second"),
        (10, "first"),
        (10, "second"),
    ]
    (note,) = (workdir / "evals").glob("2-*/first.failed.json")
    assert "no memory left" in json.loads(note.read_text())["error"]
    # It is through with all three: the trainer need not hold them. A new process tries again.
    assert len(ledger.evaluations(workdir, NAMES)) == 3
    outcome, _ = run(workdir)
    assert outcome.exit_code == 0 and evaluated(workdir)[-1] == (2, "first")
    assert not note.exists()


def test_a_model_that_can_not_be_loaded_fails_its_evaluators_only(workdir):
    def evaluate(step):
        if step == 1:
            raise ValueError("shapes differ")
        return metrics_of(step)

    outcome, _ = run(workdir, evaluate)
    assert set(outcome.failed) == {"1/first", "1/second"}
    assert outcome.evaluated == [2, 10]


def test_a_step_is_evaluated_when_its_sets_are_too(workdir):
    def of_pets(step, names):
        run(workdir, evaluators=names, step=step)
        return len(ledger.evaluations(workdir, NAMES, ["pets"]))

    assert of_pets(1, NAMES) == 0
    assert of_pets(1, ["set-cats-and-pets-0123abcd"]) == 0
    assert of_pets(1, ["set-pets-0123abcd"]) == 1
    (metrics,) = ledger.evaluations(workdir, NAMES, ["pets"]).values()
    assert metrics["set-pets-0123abcd/step"] == 1.0


@pytest.mark.parametrize("fault", ["flip", "truncate", "delete", "manifest"])
def test_a_damaged_step_is_named_and_passed_over(workdir, fault):
    victim = workdir / "checkpoints" / "2" / "meta.json"
    if fault == "flip":
        flip_byte(workdir, 2)
    elif fault == "truncate":
        os.truncate(victim, 1)
    elif fault == "delete":
        victim.unlink()
    else:
        (workdir / "checkpoints" / "manifests" / "2.json").write_text("{}")
    outcome, said = run(workdir)
    assert outcome.evaluated == [1, 10] and outcome.exit_code == 1
    assert list(outcome.damaged) == [2]
    assert sum("step 2 is damaged" in sentence for sentence in said) == 1
    if fault != "manifest":
        assert len(ledger.evaluations(workdir, NAMES)) == 3  # Nobody waits for it.


def test_a_step_without_manifest_does_not_exist(workdir):
    (workdir / "checkpoints" / "manifests" / "2.json").unlink()
    outcome, _ = run(workdir)
    assert outcome.evaluated == [1, 10] and outcome.exit_code == 0
    with pytest.raises(CheckpointError, match="no checkpoint 2"):
        run(workdir, step=2)


@pytest.mark.parametrize("tail", [b"", b'{"step": 2, "eval', b'{"step": 2}\n', b"\0\0\n"])
def test_a_kill_between_entry_and_line_or_within_a_line_loses_nothing(workdir, tail):
    run(workdir)
    path = workdir / "evals.jsonl"
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    path.write_bytes(whole[:start] + tail)
    run(workdir)
    assert path.read_bytes() == whole
    path.unlink()
    run(workdir)
    assert path.read_bytes() == whole


def test_torn_line_of_a_killed_evaluator_is_mended_by_one_that_runs(workdir):
    mine = Ledger(workdir, "c")
    mine.record(1, "m1", "first", EvalResult({"x": 1.0}))
    path = workdir / "evals.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    mine.record(2, "m2", "first", EvalResult({"x": 2.0}))
    assert evaluated(workdir) == [(1, "first"), (2, "first")]


def test_only_the_first_of_two_results_counts(workdir):
    one, other = Ledger(workdir, "c"), Ledger(workdir, "c")
    assert one.record(1, "m", "first", EvalResult({"x": 1.0, "undefined": float("nan")}))
    assert not other.record(1, "m", "first", EvalResult({"x": 2.0}))
    assert [line["metrics"] for line in lines(workdir)] == [{"x": 1.0}]


def test_several_evaluators_share_the_work(workdir):
    seen, lock = [], threading.Lock()

    def evaluate(step):
        with lock:
            seen.append(step)
        time.sleep(0.1)
        return metrics_of(step)

    threads = [threading.Thread(target=run, args=(workdir, evaluate)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [1, 2, 10]
    assert sorted(evaluated(workdir)) == sorted((s, n) for s in (1, 2, 10) for n in NAMES)


def test_watching_ends_when_the_trainer_is_done_and_all_is_evaluated(workdir):
    save(workdir, [11])

    def evaluate(step):
        if step == 11 and not (workdir / "DONE").exists():
            save(workdir, [12])
            (workdir / "DONE").write_text('{"step": 12}')
        return metrics_of(step)

    outcome, _ = run(workdir, evaluate, watch=True)
    assert outcome.evaluated == [1, 2, 10, 11, 12]


def test_a_step_that_is_read_is_not_deleted_and_an_evaluated_one_is(workdir):
    keep = CheckpointConfig(keep_latest=1, hold_unevaluated=True)

    def evaluations():
        return ledger.evaluations(workdir, NAMES)

    def evaluate(step):
        if step == 2:
            with CheckpointStore(
                workdir / "checkpoints", write=True, keep=keep, evaluations=evaluations
            ) as store:
                store.save(20, {"params": {"w": jnp.zeros(4)}}, {}, {})
                store.wait()
                assert store.steps() == [2, 10, 20]
        return metrics_of(step)

    outcome, _ = run(workdir, evaluate)
    assert outcome.evaluated == [1, 2, 10, 20]


SIGTERM_SCRIPT = """
import sys, time
from prolip.checkpoint import CheckpointStore
from prolip.evals.context import EvalResult
from prolip.evals.loop import evaluate_steps
def evaluate(step):
    print("evaluating", step, flush=True)
    time.sleep(60)
outcome = evaluate_steps(sys.argv[1], store=CheckpointStore(sys.argv[1] + "/checkpoints",
    write=False), evaluators=["first"], config="c", evaluate=evaluate, watch=True)
sys.exit(outcome.exit_code)
"""


def start(script, *args):
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_sigterm_ends_cleanly_and_gives_the_step_back(workdir):
    with start(SIGTERM_SCRIPT, workdir) as process:
        assert process.stdout.readline() == "evaluating 1\n"
        assert list((workdir / "checkpoints" / "readers").glob("1.*"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == RESTART
    assert not list((workdir / "checkpoints" / "readers").glob("1.*"))
    outcome, _ = run(workdir)
    assert outcome.evaluated == [1, 2, 10]


TRAINER = """
import sys, pathlib, time
import jax.numpy as jnp
from prolip.checkpoint import CheckpointStore
from prolip.config import CheckpointConfig
from prolip.evals import ledger
workdir, hold = pathlib.Path(sys.argv[1]), sys.argv[2] == "True"
step = 0
for keep_latest in (2, 3, 4, 5):
    keep = CheckpointConfig(keep_latest=keep_latest, hold_unevaluated=hold)
    with CheckpointStore(workdir / "checkpoints", write=True, keep=keep,
            evaluations=lambda: ledger.evaluations(workdir, ["first"])) as store:
        for _ in range(50):
            step += 1
            store.save(step, {"params": {"w": jnp.full(4, step)}}, {}, {})
            store.check()
while not (workdir / "killed").exists():
    time.sleep(0.01)
(workdir / "DONE").write_text('{"step": 200}')
"""

# Forked, so that an evaluator starts in milliseconds and is killed at all moments of its life.
EVALUATORS = """
import os, random, signal, sys, time, warnings
warnings.simplefilter("ignore")
from prolip.checkpoint import CheckpointStore
from prolip.evals.context import EvalResult
from prolip.evals.loop import evaluate_steps
workdir, seconds = sys.argv[1], float(sys.argv[2])
def evaluate(step):
    time.sleep(seconds)
    return lambda name: EvalResult({"step": float(step)}, {}, {})
def run():
    store = CheckpointStore(workdir + "/checkpoints", write=False)
    return evaluate_steps(workdir, store=store, evaluators=["first"], config="c",
        evaluate=evaluate, watch=True, poll_seconds=0.02, say=lambda text: None).exit_code
pause = random.Random(0)
while not os.path.exists(workdir + "/checkpoints/manifests"):
    time.sleep(0.01)
for _ in range(30):
    child = os.fork()
    if child == 0:
        os._exit(run())
    time.sleep(pause.uniform(0.05, 0.6))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
open(workdir + "/killed", "w").close()
sys.exit(run())
"""


@pytest.mark.slow
@pytest.mark.parametrize("hold", [True, False])
def test_200_fast_checkpoints_and_30_kills(tmp_path, hold):
    # Held steps wait for the evaluator; of the others a slow one finds only some.
    seconds = 0.02 if hold else 0.2
    with (
        start(TRAINER, tmp_path, hold) as trainer,
        start(EVALUATORS, tmp_path, seconds) as evaluators,
    ):
        assert trainer.wait(150) == 0
        assert evaluators.wait(150) == 0
    steps = [line["step"] for line in lines(tmp_path)]
    assert steps == sorted(set(steps))
    there = CheckpointStore(tmp_path / "checkpoints", write=False).steps()
    assert set(there) <= set(steps) and there[-1] == 200
    if hold:
        assert steps == list(range(1, 201))
    entries = list((tmp_path / "evals").glob("*/*.done.json"))
    assert len(entries) == len(steps)
    assert not list((tmp_path / "checkpoints").glob("*tmp*"))
