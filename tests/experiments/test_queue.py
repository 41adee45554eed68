"""Studies that are run: resumed, shared, and not stopped by a run that fails."""

import json

import pytest

from prolip.cli.main import main
from prolip.experiments import queue, registry, runs
from prolip.experiments.runs import RESULT, Place
from prolip.experiments.study import Cell, Column, Prepared, Study

TINY = (
    "config.total_steps=2",
    "config.checkpoint.every=2",
    "config.checkpoint.keep_every=0",
    "config.optimizer.warmup_steps=1",
    "config.global_batch=16",
    "config.data.name=shapes/tiny",
    "config.data.num_threads=1",
    "config.model.embed_dim=16",
    "config.model.image.depth=1",
    "config.model.image.width=16",
    "config.model.image.mlp_dim=16",
    "config.model.text.depth=1",
    "config.model.text.width=16",
    "config.model.text.mlp_dim=16",
    "config.logging.tensorboard=False",
    "config.eval.evaluators=('annotation',)",
)
METRIC = "annotation/text_to_image/map_at_r"


def prepared(cell, seed, folder, train):
    (folder / "note.txt").write_text(f"{cell.name} {seed}")
    return Prepared(("config.objective.ppcl=0.5",), {"half": 0.5})


GOOD = Cell("good", "shapes", TINY)
MADE = Cell("made", "shapes", TINY, prepared)
BAD = Cell("bad", "shapes", (*TINY, "config.data.caption_weights=(0.0, 0.0, 0.0, 0.0)"))
COLUMNS = (Column(METRIC, "mAP"), Column("train/loss", "loss", "low"), Column("prepared/half", ""))


@pytest.fixture
def study(monkeypatch):
    study = Study("tiny", "Tiny", "Does it run?", (GOOD, BAD, MADE), COLUMNS, seeds=1)
    monkeypatch.setitem(registry.STUDIES, "tiny", study)
    return study


@pytest.mark.slow
def test_a_study_runs_from_the_command_line_and_goes_on(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "tiny", "--out", "tables"]) == 1
    out = capsys.readouterr().out
    assert "bad, seed 1 failed" in out and "caption_weights" in out
    place = Place(tmp_path / "runs" / "experiments")
    text = (tmp_path / "tables" / "tiny.md").read_text()
    assert "2 of 3 runs" in text and "| bad | – | – | – |" in text
    result = place.result(GOOD, 1)
    assert 0 < result["metrics"][METRIC] < 1 and result["metrics"]["train/loss"] > 0
    made = place.result(MADE, 1)
    assert made["config"]["objective"]["ppcl"] == 0.5
    assert made["metrics"]["prepared/half"] == 0.5
    assert (place.run(BAD, 1) / queue.FAILURE).read_text().startswith("Traceback")

    # What is done is not done again; a run without a result is evaluated from its checkpoint.
    trained = []
    monkeypatch.setattr(
        runs, "train", lambda config, path, **_: trained.append(path) or _done(config)
    )
    (place.run(GOOD, 1) / RESULT).unlink()
    assert main(["experiment", "tiny", "--only", "good", "--only", "made", "--out", "tables"]) == 0
    assert trained == [str(place.run(GOOD, 1))]
    assert place.result(GOOD, 1)["metrics"] == result["metrics"]


def _done(config):
    from prolip.train.loop import Outcome

    return Outcome(config.total_steps, None)


def test_a_run_that_another_process_has_is_waited_for(tmp_path, monkeypatch):
    from prolip.checkpoint import LeaseHeld

    study = Study("tiny", "", "", (GOOD, MADE), COLUMNS, seeds=1)
    place, asked = Place(tmp_path), []
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.0)

    def finish(place, cell, seed):
        asked.append(cell.name)
        if cell is GOOD and asked.count("good") < 3:
            raise LeaseHeld("in use", passes=False)
        return {"seconds": 1.0}

    monkeypatch.setattr(queue, "finish", finish)
    outcome = queue.work(place, [study], lambda _: None)
    assert outcome.code == 0 and asked == ["good", "made", "good", "good"]


def test_a_signal_ends_the_work_with_the_code_that_says_start_again(tmp_path, monkeypatch):
    study = Study("tiny", "", "", (GOOD, MADE), COLUMNS, seeds=1)

    def finish(place, cell, seed):
        raise runs.Stopped(15)

    monkeypatch.setattr(queue, "finish", finish)
    said = []
    assert queue.work(Place(tmp_path), [study], said.append).code == 75
    assert "the same command goes on" in said[-1]


def test_only_of_two_studies_and_no_study_are_refused(capsys):
    assert main(["experiment", "objectives", "ablation", "--only", "ProLIP"]) == 1
    assert "--only names cells of one study" in capsys.readouterr().err
    assert main(["experiment", "objektives"]) == 1
    assert "did you mean 'objectives'" in capsys.readouterr().err


def test_listing_names_each_study(capsys):
    assert main(["experiment", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in registry.STUDIES)


def test_results_are_plain_json(tmp_path):
    place = Place(tmp_path)
    folder = place.run(GOOD, 1)
    folder.mkdir(parents=True)
    (folder / RESULT).write_text(json.dumps({"metrics": {}}))
    assert place.result(GOOD, 1) == {"metrics": {}} and place.result(GOOD, 2) is None
