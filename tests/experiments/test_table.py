"""Means, errors, the best of a column, and what the files hold."""

import dataclasses
import io
import json
import math
import statistics

import pytest
from rich.console import Console

from prolip.config import ConfigError
from prolip.data.emoji.builder import FOLDS
from prolip.experiments import registry, small, table
from prolip.experiments.runs import RESULT, Place
from prolip.experiments.studies import multiplicity
from prolip.experiments.study import Cell, Column, Study

CELLS = (Cell("plain", "emoji"), Cell("wide", "emoji", ("config.model.embed_dim=256",)))
STUDY = Study(
    "small",
    "A small study",
    "Does width help?",
    CELLS,
    (Column("map", "mAP"), Column("loss", "loss", "low", 1), Column("count", "images", "")),
)
VALUES = {"plain": (0.10, 0.20, 0.30), "wide": (0.4, 0.5)}


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "runs")
    for cell in CELLS:
        for seed, value in enumerate(VALUES[cell.name], 1):
            folder = place.run(cell, seed)
            folder.mkdir(parents=True)
            metrics = {"map": value, "loss": 2.0, "count": 7.0}
            command = place.command(cell, seed)
            result = {"command": command, "seconds": 60.0, "metrics": metrics, "config": {}}
            (folder / RESULT).write_text(json.dumps(result))
    return place


def test_mean_and_standard_error_are_those_of_the_seeds_that_are_done(place):
    found = table.results(place, STUDY)
    assert sorted(found["wide"]) == [1, 2]
    value = table.value([run["metrics"] for run in found["plain"].values()], "map")
    assert value.mean == pytest.approx(0.2)
    assert value.error == pytest.approx(statistics.stdev(VALUES["plain"]) / math.sqrt(3))
    assert table.value([], "map") is None
    assert math.isnan(table.value([{"map": 1.0}], "map").error)


def test_the_best_is_marked_where_cells_differ_and_one_end_is_better(place):
    plain, wide = (texts for _, texts in table.rows(STUDY, table.results(place, STUDY)))
    # A mean over fewer seeds says so, and is no best one.
    assert wide[0] == "0.450 ± 0.050 (2 of 3)" and plain[0] == "0.200 ± 0.058"
    assert not any("*" in text for texts in (plain, wide) for text in texts)
    two = dataclasses.replace(STUDY, seeds=2)
    plain, wide = (texts for _, texts in table.rows(two, table.results(place, two)))
    assert wide[0] == "**0.450 ± 0.050**" and plain[0] == "0.150 ± 0.050"
    assert not any("*" in texts[i] for texts in (plain, wide) for i in (1, 2))


def test_files_hold_numbers_and_the_command_of_each_cell(place, tmp_path):
    said = table.write(place, STUDY, tmp_path / "results", "prolip experiment small")
    target = tmp_path / "results" / "small.md"
    assert said == f"written: {target}, .html, .json"
    text = target.read_text()
    assert "| wide | 0.450 ± 0.050 (2 of 3) |" in text and "5 of 6 runs" in text
    assert "`prolip experiment small` makes it." in text
    for cell in CELLS:
        assert place.command(cell, 1) in text
        assert place.command(cell, 1).split("=")[0] in target.with_suffix(".html").read_text()
    kept = json.loads(target.with_suffix(".json").read_text())["cells"]
    assert kept["plain"]["3"]["metrics"]["map"] == 0.30
    # A table of fewer runs does not take its place, whatever its command was.
    said = table.write(place, STUDY.select(["wide"]), tmp_path / "results", "other")
    assert said.startswith("not written") and "is of 5 runs, and 2 are in" in said
    assert target.read_text() == text


def test_what_else_a_study_says_is_in_both_forms(place, tmp_path):
    study = dataclasses.replace(
        STUDY, more=lambda found: f"## More\n\n| a |\n|---|\n| {len(found)} |"
    )
    table.write(place, study, tmp_path, "prolip experiment small")
    assert "| 2 |" in (tmp_path / "small.md").read_text()
    page = (tmp_path / "small.html").read_text()
    assert "<h2>More</h2>" in page and "<td>2</td>" in page


@pytest.mark.parametrize("width", [30, 60, 200])
def test_no_column_is_left_out_of_a_narrow_terminal(place, width):
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in table.terminal(place, STUDY, width):
        console.print(part)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(column.title in line for line in lines) for column in STUDY.columns)
    assert sum("plain" in line for line in lines) == {30: 3, 60: 2, 200: 1}[width]


def test_a_key_that_is_changed_twice_stands_once_in_the_command(tmp_path):
    cell = Cell("a", "emoji", ("config.total_steps=260",))
    command = Place(tmp_path, ("config.total_steps=4",)).command(cell, 1)
    assert "total_steps=4" in command and "total_steps=260" not in command


def test_what_a_study_prepares_is_made_by_its_command_alone(place):
    cell = Cell("made", "emoji", prepare=lambda *_: None)
    study = dataclasses.replace(STUDY, cells=(cell,))
    text = table.markdown(place, study, {"made": {}}, "prolip experiment small")
    assert f"prolip experiment small --workdir {place.path} --only=made" in text


def test_equal_runs_of_two_studies_are_one_and_others_are_not(tmp_path):
    place = Place(tmp_path)
    cell = Cell("a", "emoji", ("config.seed=3", "config.data.name=emoji/fold_{seed}"))
    assert place.words(cell, 2)[:2] == ("config.seed=3", "config.data.name=emoji/fold_2")
    runs = {place.run(cell, 1), place.run(cell, 2), place.run(CELLS[0], 1), place.run(CELLS[1], 1)}
    assert len(runs) == 4
    assert Place(tmp_path, ("config.total_steps=9",)).run(cell, 1) not in runs
    other = Cell("another name", cell.config, cell.changes)
    assert place.run(other, 1) == place.run(cell, 1)


def test_slips_are_told_with_what_there_is():
    with pytest.raises(ConfigError, match="did you mean 'objectives'"):
        registry.study("objective")
    with pytest.raises(ConfigError, match="no cell 'CLIPP'; did you mean 'CLIP'"):
        registry.study("objectives", only=["CLIPP"])
    with pytest.raises(ConfigError, match="it has\n  'ProLIP'\n"):
        registry.study("objectives", only=["zzzz"])
    with pytest.raises(ConfigError, match="--seeds must be at least 1"):
        registry.study("objectives", seeds=0)
    assert small.EMOJI_SEEDS == FOLDS - 1
    with pytest.raises(ConfigError, match="of which there are 5; got 6"):
        registry.study("objectives", seeds=6)
    assert registry.study("mismatch", seeds=6).seeds == 6


@pytest.mark.parametrize("name", registry.STUDIES)
def test_every_cell_of_every_study_is_a_configuration_that_is_right(name, tmp_path):
    study = registry.study(name)
    place = Place(tmp_path)
    assert len({cell.name for cell in study.cells}) == len(study.cells)
    for cell in study.cells:
        config = place.config(cell, 1)
        assert config.seed == 1
        assert config.checkpoint.every == config.total_steps
    if name != "multiplicity":
        # Two cells that train the same would be one run under two names.
        runs = {place.run(cell, 1) for cell in study.cells}
        assert len(runs) == len(study.cells)


def test_the_measures_order_the_four_lists_of_the_survey_as_it_says():
    rows = {
        line.split("|")[1].strip(): [float(x) for x in line.split("|")[2:-1]]
        for line in multiplicity._mechanics()
        if any(name in line for name in multiplicity.LISTS)
    }
    nearly_all, first_alone = rows["only the first is wrong"], rows["only the first is right"]
    assert first_alone[0] > nearly_all[0]  # R@1 prefers the list with one right answer ...
    assert nearly_all[3] > first_alone[3]  # ... mAP@R the one with nine.


def test_models_that_both_measures_order_alike_have_tau_one():
    def run(value, flipped):
        metrics = {}
        for name in multiplicity.NAMES:
            prefix = f"{multiplicity.TASK}/{name}"
            metrics[f"{prefix}/annotated_recall@1"] = -value if flipped else value
            metrics[f"{prefix}/recall@1"] = value
            metrics[f"{prefix}/map_at_r"] = value
        return {1: metrics, 2: metrics}

    alike = multiplicity._more({n: run(i, False) for i, n in enumerate("abcd")})
    assert alike.count("1.00 ± 0.00") == 2 * len(multiplicity.NAMES)
    turned = multiplicity._more({n: run(i, True) for i, n in enumerate("abcd")})
    assert turned.count("-1.00 ± 0.00") == len(multiplicity.NAMES)
    one = multiplicity._more({n: {1: run(i, False)[1]} for i, n in enumerate("abcd")})
    assert "1.00 |" in one and "±" not in one.split("## What")[0].split("matches |\n")[1]
