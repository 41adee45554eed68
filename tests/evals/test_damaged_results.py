"""Results that are damaged, removed or kept elsewhere: named, measured again, never in the way."""

import json
import os
import shutil

import pytest
from stepwise import lines, run, save

from prolip.checkpoint import CheckpointError
from prolip.evals import ledger, loop
from prolip.evals.ledger import Ledger


@pytest.mark.parametrize("change", [{"metrics": {"a": "b"}}, {"step": True}, {"evaluator": None}])
def test_a_damaged_entry_is_named_and_measured_again(change, tmp_path):
    save(tmp_path, [1])
    run(tmp_path)
    [path] = tmp_path.glob("evals/*/first.done.json")
    good = json.loads(path.read_text())
    path.write_text(json.dumps(good | change))
    assert ledger.damaged(tmp_path) == [path]
    outcome, _ = run(tmp_path)
    assert outcome.evaluated == [1]
    assert ledger.damaged(tmp_path) == [] and json.loads(path.read_text()) == good


def test_damaged_notes_of_failures_stop_nobody(tmp_path):
    save(tmp_path, [1])
    run(tmp_path)
    folder = next(tmp_path.glob("evals/1-*"))
    for text in ("[]", "{}", '{"step": 1, "manifest": 3, "evaluator": "x"}', "null"):
        (folder / "x.failed.json").write_text(text)
        assert ledger.damaged(tmp_path) == [folder / "x.failed.json"]
        assert ledger.failures(tmp_path) == []
        assert ledger.newest(tmp_path).keys() == {1}
        assert len(ledger.evaluations(tmp_path)) == 1


def test_a_workdir_that_is_removed_ends_the_watch(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "GONE_SECONDS", 0.1)
    save(tmp_path / "run", [1])

    def remove():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)

    with pytest.raises(CheckpointError, match="is gone"):
        run(tmp_path / "run", watch=True, polled=remove)
    assert not (tmp_path / "run").exists()


def test_results_can_lie_elsewhere_and_temporary_files_of_the_dead_go(tmp_path):
    save(tmp_path / "run", [1])
    results = tmp_path / "results"
    run(tmp_path / "run", results=results)
    assert not (tmp_path / "run" / "evals").exists() and len(lines(results)) == 2
    folder = next(results.glob("evals/1-*"))
    old, young = folder / ".first.npz.00", folder / ".second.npz.00"
    for path in (old, young):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    Ledger(results, "c")
    assert not old.exists() and young.exists()
