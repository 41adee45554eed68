"""Results of a study -> a table of means and standard errors, as Markdown, HTML and JSON."""

import contextlib
import json
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from prolip.experiments.runs import Place
from prolip.experiments.study import Cell, Column, Study, Value
from prolip.workdir import write_whole

COLUMN = 15  # Characters of a mean, its error and of how many seeds.
TEMPLATE = Path(__file__).with_name("table.html")


def results(place: Place, study: Study) -> dict[str, dict[int, dict[str, Any]]]:
    """What is done: cell -> seed -> result."""
    return {
        cell.name: {
            seed: found
            for seed in range(1, study.seeds + 1)
            if (found := place.result(cell, seed)) is not None
        }
        for cell in study.cells
    }


def write(place: Place, study: Study, folder: Path, command: str) -> str:
    """Writes NAME.md, NAME.html, and NAME.json with the numbers of each seed.

    Args:
      place: where the runs are.
      study: whose table it is.
      folder: for the files.
      command: that makes them, as the table says.

    Returns:
      A sentence: where they are, or that a table of more runs is there, which stays.
    """
    found = results(place, study)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{study.name}.md"
    done, there = _count(found), _written(target.with_suffix(".json"))
    if done < there:
        return f"not written: {target} is of {there} runs, and {done} are in {place.path}"
    write_whole(target, markdown(place, study, found, command))
    write_whole(target.with_suffix(".html"), html(place, study, found, command))
    # What the table is made of; the rest stays with the runs.
    shown = [column.metric for column in study.columns]
    kept = {
        cell: {
            seed: {
                "command": run["command"],
                "seconds": run["seconds"],
                "metrics": {name: run["metrics"][name] for name in shown if name in run["metrics"]},
            }
            for seed, run in runs.items()
        }
        for cell, runs in found.items()
    }
    text = json.dumps({"study": study.name, "cells": kept}, indent=1, sort_keys=True)
    write_whole(target.with_suffix(".json"), text + "\n")
    return f"written: {target}, .html, .json"


def _count(found: Mapping[str, Mapping[Any, Any]]) -> int:
    return sum(len(runs) for runs in found.values())


def _written(path: Path) -> int:
    """Runs of the table that is there; 0 where none can be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
        return _count(json.loads(path.read_text(encoding="utf8"))["cells"])
    return 0


def value(runs: Sequence[Mapping[str, float]], metric: str) -> Value | None:
    """Mean and standard error of a metric over the runs that have it."""
    own = [run[metric] for run in runs if metric in run]
    if not own:
        return None
    error = statistics.stdev(own) / math.sqrt(len(own)) if len(own) > 1 else math.nan
    return Value(statistics.fmean(own), error, len(own))


def rows(study: Study, found: Mapping[str, Mapping[int, Any]]) -> list[tuple[Cell, list[str]]]:
    """The texts of all cells of the table; the best of a column is between stars."""
    values = {
        (cell.name, column): value(_metrics(found[cell.name]), column.metric)
        for cell in study.cells
        for column in study.columns
    }
    best = {column: _best(study, values, column) for column in study.columns}
    return [
        (cell, [_text(study, values[cell.name, c], c, cell.name in best[c]) for c in study.columns])
        for cell in study.cells
    ]


def markdown(
    place: Place, study: Study, found: Mapping[str, Mapping[int, Any]], command: str
) -> str:
    """The table, what follows from it, and the command of each cell."""
    how = f"{_how(study, found)} `{command}` makes it."
    lines = [f"# {study.title}", "", study.question, "", how, ""]
    lines += ["| | " + " | ".join(c.title for c in study.columns) + " |"]
    lines += ["|---|" + "---|" * len(study.columns)]
    lines += [f"| {cell.name} | " + " | ".join(texts) + " |" for cell, texts in rows(study, found)]
    if text := _more(study, found):
        lines += ["", text]
    lines += ["", "## Commands", "", *_commands(place, study, found), ""]
    return "\n".join(lines)


def html(place: Place, study: Study, found: Mapping[str, Mapping[int, Any]], command: str) -> str:
    """The table as one self-contained page, with the command of each cell under its name."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    shown = [
        {
            "name": cell.name,
            "command": _command(place, study, cell, found[cell.name]),
            "values": [{"text": t.strip("*"), "best": t.startswith("**")} for t in texts],
        }
        for cell, texts in rows(study, found)
    ]
    template = environment.from_string(TEMPLATE.read_text(encoding="utf8"))
    more = MarkdownIt("commonmark").enable("table").render(_more(study, found))
    return template.render(
        study=study, rows=shown, how=_how(study, found), command=command, more=more
    )


def _more(study: Study, found: Mapping[str, Mapping[int, Any]]) -> str:
    """Further Markdown of a study; "" if it has none."""
    if study.more is None:
        return ""
    own = {name: {s: r["metrics"] for s, r in runs.items()} for name, runs in found.items()}
    return study.more(own).strip()


def _how(study: Study, found: Mapping[str, Mapping[int, Any]]) -> str:
    hours = sum(run["seconds"] for runs in found.values() for run in runs.values()) / 3600
    what = f"Mean ± standard error over {study.seeds} seeds" if study.seeds > 1 else "One seed"
    return (
        f"{what}; {_count(found)} of "
        f"{len(study.cells) * study.seeds} runs, {hours:.1f} hours of runs in all."
    )


def _commands(place: Place, study: Study, found: Mapping[str, Mapping[int, Any]]) -> list[str]:
    lines = ["Of the first seed; then `prolip eval --workdir ...`.", ""]
    if all(cell.prepare is not None for cell in study.cells):
        lines = ["Training and evaluation of all seeds.", ""]
    for cell in study.cells:
        lines += [f"- {cell.name}: `{_command(place, study, cell, found[cell.name])}`"]
    return lines


def _command(place: Place, study: Study, cell: Cell, runs: Mapping[int, Any]) -> str:
    if cell.prepare is not None:  # What it trains on is made by the study alone.
        changes = [f"--{word}" for word in place.overrides]
        own = ["--workdir", str(place.path), f"--only={cell.name}", *changes]
        return shlex.join(["prolip", "experiment", study.name, *own])
    first = next(iter(runs.values()), None)
    return first["command"] if first else place.command(cell, 1)


def _metrics(runs: Mapping[int, Any]) -> list[Mapping[str, float]]:
    return [run["metrics"] for run in runs.values()]


def _best(study: Study, values: Mapping[Any, Value | None], column: Column) -> set[str]:
    known = {
        cell.name: round(v.mean, column.digits)
        for cell in study.cells
        if (v := values[cell.name, column]) is not None and v.num == study.seeds
    }
    if not column.better or len(set(known.values())) < 2:
        return set()
    top = max(known.values()) if column.better == "high" else min(known.values())
    return {name for name, mean in known.items() if mean == top}


def _text(study: Study, found: Value | None, column: Column, best: bool) -> str:
    if found is None:
        return "–"
    text = f"{found.mean:.{column.digits}f}"
    if found.num > 1:
        text += f" ± {found.error:.{column.digits}f}"
    text = text.replace("-", "−")  # A minus, as wide as the digits beside it.
    if found.num < study.seeds:
        text += f" ({found.num} of {study.seeds})"
    return f"**{text}**" if best else text


def terminal(place: Place, study: Study, width: int) -> list[Table]:
    """The table for a terminal of so many characters; what does not fit goes into one below."""
    names = max(len(cell.name) for cell in study.cells)
    own = max(1, (width - names - 4) // (COLUMN + 3))  # Blanks on both sides, and a divider.
    return [
        _part(place, study, range(begin, min(begin + own, len(study.columns))))
        for begin in range(0, len(study.columns), own)
    ]


def _part(place: Place, study: Study, columns: range) -> Table:
    title = study.title if columns.start == 0 else None
    shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    shown.add_column("", no_wrap=True)
    for i in columns:
        name = escape(study.columns[i].title)
        shown.add_column(name, justify="right", width=COLUMN, overflow="fold")
    for cell, all_texts in rows(study, results(place, study)):
        texts = [all_texts[i] for i in columns]
        words = (f"[bold]{t.strip('*')}[/]" if t.startswith("**") else t for t in texts)
        shown.add_row(escape(cell.name), *words)
    return shown
