"""Means, errors, the best of a column, and what the files hold."""

import json
import math
import statistics

import pytest

from prolip.config import ConfigError
from prolip.experiments import registry, table
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
    assert wide[0] == "**0.450 ± 0.050**" and plain[0] == "0.200 ± 0.058"
    assert not any("*" in texts[i] for texts in (plain, wide) for i in (1, 2))


def test_files_hold_numbers_and_the_command_of_each_cell(place, tmp_path):
    target = table.write(place, STUDY, tmp_path / "results")
    text = target.read_text()
    assert "| wide | **0.450 ± 0.050** |" in text and "5 of 6 runs" in text
    for cell in CELLS:
        assert place.command(cell, 1) in text
        assert place.command(cell, 1).split("=")[0] in target.with_suffix(".html").read_text()
    kept = json.loads(target.with_suffix(".json").read_text())["cells"]
    assert kept["plain"]["3"]["metrics"]["map"] == 0.30


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
    with pytest.raises(ConfigError, match="no cell 'CLIPP'"):
        registry.study("objectives", only=["CLIPP"])
    with pytest.raises(ConfigError, match="--seeds must be at least 1"):
        registry.study("objectives", seeds=0)


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
