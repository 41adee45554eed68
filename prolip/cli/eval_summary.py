"""The table over steps that `prolip eval` ends with, and its JSON."""

import json
from pathlib import Path
from typing import Any

STDOUT = "-"


def show(workdir: str | Path, target: str | None, results: str | Path | None = None) -> None:
    """Prints the table of a run's evaluated steps, or writes it as JSON to `target` besides.

    Args:
      workdir: of the run.
      target: None for the table alone, a file for JSON too, "-" for JSON in place of the table.
      results: where the evaluations are; None: in the workdir.

    Raises:
      ConfigError: there is no run.
    """
    from prolip.evals.summary import summarize
    from prolip.workdir import Workdir

    run = Workdir(Path(workdir))
    folder = Path(results).expanduser() if results else None
    found = summarize(run, run.read_config().checkpoint, folder)
    text = json.dumps(found.values, indent=2)
    if target == STDOUT:
        print(text)
        return
    _print(found)
    if target is not None:
        Path(target).expanduser().write_text(text + "\n", encoding="utf8")
        print(f"written to {target}")


def _print(found: Any) -> None:
    from rich.console import Console

    console = Console()
    if not found.steps:
        console.print("no step has been evaluated yet", highlight=False)
    columns, width = found.columns, console.width
    while columns:
        # As many columns as there is room for, at least one; the others go into a table below.
        fit = max(
            (n for n in range(1, len(columns) + 1) if _width(console, found, columns[:n]) <= width),
            default=1,
        )
        console.print(_table(found, columns[:fit]))
        columns = columns[fit:]
    for sentence in found.sentences:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _table(found: Any, columns: list[tuple[str, str, str]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from prolip.evals.summary import NOT_DEFINED

    table = Table()
    table.add_column("step", justify="right", vertical="bottom", no_wrap=True)
    for _, title, subtitle in columns:
        table.add_column(f"{escape(title)}\n{escape(subtitle)}", justify="right", no_wrap=True)
    for step, metrics in found.steps.items():
        best = step == found.best
        reasons = found.undefined.get(step, {})
        cells = [
            f"{metrics[name]:.4f}" if name in metrics else NOT_DEFINED if name in reasons else ""
            for name, *_ in columns
        ]
        table.add_row(f"best {step}" if best else f"{step}", *cells, style="bold" if best else None)
    guesses = [found.guesses.get(name) for name, *_ in columns]
    if found.steps and any(value is not None for value in guesses):
        cells = ["" if value is None else f"{value:.4f}" for value in guesses]
        table.add_section()
        table.add_row("guessing", *cells, style="dim")
    return table


def _width(console: Any, found: Any, columns: list[tuple[str, str, str]]) -> int:
    from rich.measure import Measurement

    unlimited = console.options.update(width=10_000)
    return int(Measurement.get(console, unlimited, _table(found, columns)).maximum)
