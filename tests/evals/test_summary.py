"""The table over steps: the numbers of the ledger, and the step that the keep policy keeps."""

import json
import math

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prolip.checkpoint import CheckpointStore
from prolip.checkpoint.retention import steps_to_keep
from prolip.cli.main import main
from prolip.config import CheckpointConfig, TrainConfig
from prolip.evals import ledger
from prolip.evals.context import EvalResult
from prolip.evals.ledger import Ledger
from prolip.evals.loop import evaluate_steps
from prolip.evals.summary import best_step, headline, summarize
from prolip.workdir import Workdir

BEST = "retrieval/text_to_image/map_at_r"
VALUES = {100: 0.1, 200: 0.4, 300: 0.3}


def record(workdir, step, evaluator, metrics, manifest=None, config="c"):
    Ledger(workdir, config).record(step, manifest or f"m{step}", evaluator, EvalResult(metrics))


@pytest.fixture
def run(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.write_config(TrainConfig())
    for step, value in VALUES.items():
        record(tmp_path, step, "retrieval", {BEST: value, "retrieval/image_to_text/recall@1": 0.5})
    return workdir


def cells(text):
    """Rows of printed tables as their cells."""
    rows = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]


metric = st.one_of(st.integers(0, 3).map(float), st.just(math.nan))


@given(st.dictionaries(st.integers(1, 9), st.none() | metric, min_size=1), st.booleans())
def test_the_best_step_is_the_one_that_the_keep_policy_keeps(values, larger):
    mode = "max" if larger else "min"
    known = {step: value for step, value in values.items() if value is not None}
    steps = {step: {} if value is None else {"m": value} for step, value in values.items()}
    kept = steps_to_keep(
        [*values, 10],  # The newest is always kept.
        CheckpointConfig(keep_latest=1, keep_best=1, best_metric="m", best_mode=mode),
        metrics=known,
        evaluated=known,
        verified=(),
    )
    best = best_step(steps, "m", mode)
    assert kept == {10} | ({best} if best is not None else set())


def test_the_best_evaluated_step_outlives_newer_ones(tmp_path):
    """Through the real files: evaluator, ledger, and the trainer's rule."""
    keep = CheckpointConfig(keep_latest=1, keep_best=1, best_metric="first/quality")
    quality = {1: 0.2, 2: 0.9, 3: 0.5, 4: 0.1}
    with CheckpointStore(
        tmp_path / "checkpoints",
        write=True,
        keep=keep,
        evaluations=lambda: ledger.evaluations(tmp_path, ["first", "failing"]),
    ) as store:

        def one(step, name):
            if name == "failing":
                raise RuntimeError("no memory")
            return EvalResult({"first/quality": quality[step]})

        for step in quality:
            store.save(step, {"params": {"w": jnp.full(4, step)}}, {}, {})
            store.wait()
            evaluate_steps(
                tmp_path,
                store=CheckpointStore(tmp_path / "checkpoints", write=False),
                evaluators=("failing", "first"),
                config="c",
                evaluate=lambda step: lambda name: one(step, name),
                say=lambda text: None,
            )
        assert store.steps() == [2, 4]
    found = summarize(Workdir(tmp_path), keep)
    assert found.best == 2 and found.kept == {2, 4} and list(found.steps) == [1, 2, 3, 4]
    assert [note["step"] for note in found.failed] == [1, 2, 3, 4]
    assert "step 3: failing failed: RuntimeError: no memory" in found.sentences


def test_a_row_a_step_and_the_best_is_marked(run, capsys):
    assert main(["eval", "--workdir", str(run.path), "--summary"]) == 0
    text = capsys.readouterr().out
    steps = [(row[0], row[1]) for row in cells(text)]
    assert steps == [("100", "0.1000"), ("best 200", "0.4000"), ("300", "0.3000")]
    assert f"best: step 200, the largest {BEST} (0.4000)" in text
    assert "checkpoint of step 200 is not there" in text


def test_the_smallest_is_best_where_the_configuration_says_so(run):
    found = summarize(run, CheckpointConfig(best_metric=BEST, best_mode="min"))
    assert found.best == 100 and "the smallest" in found.sentences[0]


def test_json_has_every_metric_and_stands_alone(run, capsys, tmp_path):
    assert main(["eval", "--workdir", str(run.path), "--summary", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best_metric"] == BEST and found["best_step"] == 200
    assert [s["step"] for s in found["steps"] if s["best"]] == [200]
    assert {s["step"]: s["metrics"][BEST] for s in found["steps"]} == VALUES
    file = tmp_path / "found.json"
    assert main(["eval", "--workdir", str(run.path), "--summary", "--json", str(file)]) == 0
    assert json.loads(file.read_text()) == found
    assert "best 200" in capsys.readouterr().out


def test_a_metric_that_no_step_has_is_named_with_the_nearest(run):
    found = summarize(run, CheckpointConfig(best_metric="retrieval/text_to_image/map_at_k"))
    assert found.best is None
    assert f"did you mean {BEST!r}?" in found.sentences[0]


def test_only_what_is_of_the_newest_checkpoint_and_configuration_counts(run):
    record(run.path, 200, "zero_shot", {"zero_shot/group/top1": 0.7})
    record(run.path, 200, "retrieval", {BEST: 0.2}, config="other data")
    found = summarize(run, CheckpointConfig())
    assert found.steps[200] == {BEST: 0.2, "zero_shot/group/top1": 0.7}
    assert found.best == 300
    assert any("2 configurations" in sentence for sentence in found.sentences)
    record(run.path, 200, "retrieval", {BEST: 0.8}, manifest="trained again")
    found = summarize(run, CheckpointConfig())
    assert found.steps[200] == {BEST: 0.8} and found.best == 200


def test_a_failure_counts_until_there_is_a_result(run):
    Ledger(run.path, "c").record_failure(300, "m300", "probe", "Traceback\nValueError: no labels")
    assert (
        "step 300: probe failed: ValueError: no labels"
        in summarize(run, CheckpointConfig()).sentences
    )
    record(run.path, 300, "probe", {"probe/shape/top1": 0.5})
    assert summarize(run, CheckpointConfig()).failed == []


def test_a_failure_of_another_configuration_or_checkpoint_is_no_success(run):
    Ledger(run.path, "other data").record_failure(200, "m200", "retrieval", "no such split")
    found = summarize(run, CheckpointConfig())
    # What was measured stays, and that the later measurement failed is said.
    assert found.steps[200][BEST] == 0.4 and "no such split" in found.sentences[-1]
    record(run.path, 200, "retrieval", {BEST: 0.4}, config="third")
    assert summarize(run, CheckpointConfig()).failed == []
    Ledger(run.path, "c").record_failure(200, "trained again", "retrieval", "not finite")
    found = summarize(run, CheckpointConfig())
    # Numbers of weights that are gone are none of step 200.
    assert 200 not in found.steps and found.best == 300
    assert "not finite" in found.sentences[-1]


def test_the_deciding_metric_is_first_and_of_many_labels_one_is_shown():
    metrics = {
        "probe/colour/top1": 0.9,
        "probe/shape/top1": 0.8,
        "sets/pets/top1": 0.7,
        "sets/birds/top1": 0.7,
        "sets/birds/mean/top1": 0.7,
        "sets/imagenet/real/top1": 0.7,
        "sets/hierarcaps/traversal/precision": 0.7,
        "sets/coco/eccv/text_to_image/recall@1": 0.7,
        "retrieval/text_to_image/recall@1": 0.2,
        "mine/error": 0.1,
    }
    assert headline([metrics], "mine/error") == [
        ("mine/error", "mine", "error"),
        ("retrieval/text_to_image/recall@1", "text → image", "R@1"),
        ("probe/colour/top1", "probe", "colour"),
        ("sets/pets/top1", "pets", "top 1"),
        ("sets/birds/top1", "birds", "top 1"),
        ("sets/imagenet/real/top1", "imagenet", "ReaL top 1"),
        ("sets/hierarcaps/traversal/precision", "hierarcaps", "traversal precision"),
    ]


@pytest.mark.parametrize("width", [20, 60, 400])
def test_columns_that_do_not_fit_go_below_and_none_is_lost(run, capsys, monkeypatch, width):
    metrics = {f"sets/a_set_of_number_{i}/top1": i / 10 for i in range(6)}
    record(run.path, 100, "sets", metrics)
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["eval", "--workdir", str(run.path), "--summary"]) == 0
    text = capsys.readouterr().out
    found = [value for row in cells(text) if row[0] == "100" for value in row[1:]]
    assert found == ["0.1000", "0.5000", *(f"{value:.4f}" for value in metrics.values())]
    assert (text.count("best 200") == 1) == (width == 400)


def test_nothing_evaluated_and_no_run_are_said(tmp_path, capsys):
    assert main(["eval", "--workdir", str(tmp_path), "--summary"]) == 1
    assert "is not a run" in capsys.readouterr().err
    Workdir(tmp_path).write_config(TrainConfig())
    assert main(["eval", "--workdir", str(tmp_path), "--summary"]) == 0
    assert capsys.readouterr().out == "no step has been evaluated yet\n"
    assert main(["eval", "--workdir", str(tmp_path), "--summary", "--watch"]) == 1
    assert "--summary evaluates nothing" in capsys.readouterr().err


def test_a_metric_without_a_value_is_shown_with_its_reason(run, capsys):
    reason = "the model gives no pair a probability of 0.1 or more"
    result = EvalResult(
        {"calibration/brier_skill": -0.01}, undefined={"calibration/ece_likely": reason}
    )
    Ledger(run.path, "c").record(200, "m200", "calibration", result)
    found = summarize(run, CheckpointConfig())
    assert found.undefined == {200: {"calibration/ece_likely": reason}}
    assert f"calibration/ece_likely is n/a at step 200: {reason}" in found.sentences
    assert found.guesses["calibration/brier_skill"] == 0
    assert main(["eval", "--workdir", str(run.path), "--summary"]) == 0
    text = capsys.readouterr().out
    assert any("n/a" in row for row in cells(text)) and "guessing" in text


def test_reasons_are_found_where_the_results_are(run, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    result = EvalResult({}, undefined={"calibration/ece_likely": "nothing is likely"})
    Ledger(results, "c").record(300, "m300", "calibration", result)
    found = summarize(run, CheckpointConfig(), results)
    assert found.undefined == {300: {"calibration/ece_likely": "nothing is likely"}}
