"""Studies that are run: resumed, shared, and not stopped by a run that fails."""

import json
import os
import signal

import pytest

from prolip.checkpoint import LeaseHeld
from prolip.cli.main import main
from prolip.config import ConfigError
from prolip.experiments import queue, registry, runs
from prolip.experiments.runs import RESULT, Place
from prolip.experiments.study import Cell, Column, Prepared, Study
from prolip.workdir import open_workdir

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
BAD = Cell("bad", "shapes", (*TINY, "config.data.image_feature=nowhere"))
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
    assert "bad, seed 1 failed" in out and "nowhere" in out
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
    study = Study("tiny", "", "", (GOOD, MADE), COLUMNS, seeds=1)
    place, asked = Place(tmp_path), []
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.0)

    def finish(place, cell, seed):
        asked.append(cell.name)
        if cell is GOOD and asked.count("good") < 3:
            raise LeaseHeld("in use", passes=False)
        return {"seconds": 1.0}

    monkeypatch.setattr(queue, "finish", finish)
    said = []
    outcome = queue.work(place, [study], said.append)
    assert outcome.code == 0 and asked == ["good", "made", "good", "good"]
    # Whom it waits for is said once.
    assert [text for text in said if "in use" in text] == ["good, seed 1: left for later, in use"]


def test_a_signal_ends_the_work_with_the_code_that_says_start_again(tmp_path, monkeypatch):
    study = Study("tiny", "", "", (GOOD, MADE), COLUMNS, seeds=1)

    def finish(place, cell, seed):
        raise runs.Stopped(15)

    monkeypatch.setattr(queue, "finish", finish)
    said = []
    assert queue.work(Place(tmp_path), [study], said.append).code == 75
    assert "the same command goes on" in said[-1]


def test_a_signal_that_comes_while_it_waits_ends_it_too(tmp_path, monkeypatch):
    def finish(place, cell, seed):
        os.kill(os.getpid(), signal.SIGTERM)
        raise LeaseHeld("in use", passes=False)

    monkeypatch.setattr(queue, "finish", finish)
    study = Study("tiny", "", "", (GOOD,), COLUMNS, seeds=1)
    before = signal.getsignal(signal.SIGTERM)
    assert queue.work(Place(tmp_path), [study], lambda _: None).code == 75
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_is_no_failure_to_those_who_note_failures():
    assert not issubclass(runs.Stopped, Exception)


def test_an_error_with_brackets_is_printed_as_it_is(tmp_path, monkeypatch, capsys):
    def finish(place, cell, seed):
        raise ValueError("shape [batch, dim] of [/there] wrong")

    study = Study("tiny", "Tiny", "", (GOOD,), COLUMNS, seeds=1)
    monkeypatch.setitem(registry.STUDIES, "tiny", study)
    monkeypatch.setattr(queue, "finish", finish)
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "tiny"]) == 1
    assert "shape [batch, dim] of [/there] wrong" in " ".join(capsys.readouterr().out.split())


def test_tables_of_changed_cells_are_written_only_where_it_is_said(
    study, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["experiment", "tiny", "--table", "--config.total_steps=3"]
    assert main(words) == 0
    assert "not written" in capsys.readouterr().out and not (tmp_path / "results").exists()
    assert main([*words, "--out", "tables"]) == 0
    text = (tmp_path / "tables" / "tiny.md").read_text()
    assert "`prolip experiment tiny --out=tables --config.total_steps=3` makes it" in text
    assert "--config.total_steps=3" in text.split("## Commands")[1]
    with pytest.raises(ConfigError, match="warmup_steps 5 and cooldown_steps 0 don't fit"):
        queue.work(Place(tmp_path, ("config.optimizer.warmup_steps=5",)), [study], print)
    with pytest.raises(ConfigError, match="total_step"):
        queue.work(Place(tmp_path, ("config.total_stepz=3",)), [study.select(["made"])], print)


def test_steps_that_are_not_finite_are_left_out_of_means(tmp_path):
    workdir = open_workdir(tmp_path)
    lines = [{"step": i, "loss": x} for i, x in enumerate((9.0, 9.0, 1.0, None, 3.0))]
    workdir.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert runs._training(workdir) == {"train/loss": 2.0}


def test_only_of_two_studies_and_no_study_are_refused(capsys):
    assert main(["experiment", "objectives", "ablation", "--only", "ProLIP"]) == 1
    assert "--only names cells of one study" in capsys.readouterr().err
    assert main(["experiment", "objektives"]) == 1
    assert "did you mean 'objectives'" in capsys.readouterr().err


def test_listing_names_each_study(capsys):
    assert main(["experiment", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}: " in out for name in registry.STUDIES)
    assert main(["experiment", "ablation", "--list"]) == 0
    out = capsys.readouterr().out
    cells = [f'  --only "{cell.name}"' for cell in registry.STUDIES["ablation"].cells]
    assert out.splitlines()[-len(cells) :] == cells and "objectives" not in out
    assert main(["experiment"]) == 1
    assert "name a study, of objectives" in capsys.readouterr().err


def test_results_are_plain_json(tmp_path):
    place = Place(tmp_path)
    folder = place.run(GOOD, 1)
    folder.mkdir(parents=True)
    (folder / RESULT).write_text(json.dumps({"metrics": {}}))
    assert place.result(GOOD, 1) == {"metrics": {}} and place.result(GOOD, 2) is None
