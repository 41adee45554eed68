"""What `prolip eval --list` says."""

from prolip.cli.main import main
from prolip.evals.registry import EVALUATORS, REGISTRY, manual_dir


def test_the_list_says_what_is_measured_and_what_is_missing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["eval", "--list"]) == 0
    rows = {}
    for line in capsys.readouterr().out.splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        if len(cells) > 4 and cells[1]:
            rows.setdefault(cells[1], cells[2:])  # A set may be called as a benchmark.
    assert {entry.name for entry in REGISTRY} <= set(rows)
    assert all(rows[name][2] == "yes" for name in EVALUATORS)
    assert "prolip[eval]" in rows["coco"][1] and rows["coco"][2] == "yes"
    assert rows["pmrp"][2] == "no"
    manual_dir().mkdir(parents=True)
    (manual_dir() / "instances_val2014.json").touch()
    assert {e.name: e.here() for e in REGISTRY}["pmrp"]


def test_names_are_distinct_and_every_evaluator_says_what_it_needs():
    assert len({entry.name for entry in REGISTRY}) == len(REGISTRY)
    assert all(entry.measures and entry.needs for entry in REGISTRY)
