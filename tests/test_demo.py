"""The demonstration from the first command to the closing table, with a model of no use."""

import json
import re

import pytest

from prolip.cli.main import main

SMALL = [
    "--config.total_steps=4",
    "--config.global_batch=64",
    "--config.optimizer.warmup_steps=1",
    "--config.checkpoint.every=2",
    "--config.model.image.width=16",
    "--config.model.image.depth=1",
    "--config.model.text.width=16",
    "--config.model.text.depth=1",
    "--config.model.unroll=1",
]


@pytest.mark.slow
def test_demo_goes_the_whole_way(tmp_path, capfd):
    workdir = tmp_path / "demo"
    data = f"--config.data.data_dir={tmp_path / 'data'}"
    assert main(["demo", "--workdir", str(workdir), data, *SMALL]) == 0
    said = capfd.readouterr().out
    for words in ("prolip train", "prolip eval", "On held-out emoji", "What to try next", "SigLIP"):
        assert words in said
    page = (workdir / "report.html").read_text()
    assert "<svg" in page and not re.search(r"(src|href)=[\"']?https?:", page)
    rows = [json.loads(line) for line in (workdir / "evals.jsonl").read_text().splitlines()]
    assert {(row["step"], row["evaluator"]) for row in rows} >= {
        (4, name) for name in ("retrieval", "zero_shot", "uncertainty")
    }


@pytest.mark.slow
def test_demo_stops_where_a_part_fails(tmp_path, capfd):
    words = ["demo", "--workdir", str(tmp_path / "demo"), "--config.data.name=nothing_there"]
    assert main(words) == 1
    captured = capfd.readouterr()
    assert "nothing_there" in captured.err
    assert "prolip eval" not in captured.out
