"""The whole path on the shipped data: train, evaluate, report, and what came out.

Each part is the command that a user would type, in a process of its own.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prolip.report.compare import compare

CONFIGS = {"ProLIP": "emoji", "SigLIP": "emoji:siglip"}
RECORD = "emoji_siglip.json"  # The metrics of a SigLIP run, with the command that made them.


def run(workdir: Path, *, rerun_rival: bool, overrides: list[str], console: Console) -> int:
    """Runs the parts; gives the exit code of the first one that fails, or 0.

    Args:
      workdir: of the ProLIP run; the rival's gets `_siglip` at its end.
      rerun_rival: trains SigLIP here too, in the place of the recorded result.
      overrides: `--config.key=value` for both runs.
      console: where to print.
    """
    began = time.monotonic()
    runs: dict[str, Path | Mapping[str, float]] = {"ProLIP": workdir}
    if rerun_rival:
        runs["SigLIP"] = workdir.with_name(workdir.name + "_siglip")
    for name, path in runs.items():
        code = _train_and_evaluate(CONFIGS[name], Path(str(path)), overrides, console)
        if code:
            return code
    code = _step(console, "report", ["report", "--workdir", str(workdir)])
    if code:
        return code
    source = "trained here"
    if not rerun_rival:
        record = recorded()
        runs["SigLIP"] = record["metrics"]
        source = f"recorded ({record['command']}); --compare trains it here"
    console.print()
    console.print(_table(runs))
    console.print(f"[dim]SigLIP: {source}[/]", highlight=False)
    _what_next(workdir, time.monotonic() - began, console)
    return 0


def recorded() -> dict[str, Any]:
    """The result of a SigLIP run that ships with the package."""
    path = resources.files("prolip.report").joinpath(RECORD)
    return json.loads(path.read_text(encoding="utf8"))


def _train_and_evaluate(config: str, workdir: Path, overrides: list[str], console: Console) -> int:
    train = ["train", "--config", config, "--workdir", str(workdir), *overrides]
    return _step(console, "train", train) or _step(
        console, "evaluate", ["eval", "--workdir", str(workdir)]
    )


def _step(console: Console, name: str, words: list[str]) -> int:
    console.print()
    console.rule(f"[bold]{name}[/]  [dim]prolip {shlex.join(words)}[/]", align="left")
    return subprocess.run([sys.executable, "-m", "prolip", *words], check=False).returncode


def _program(name: str) -> str:
    """How a user types a program of this environment."""
    path = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(path) or not path.exists():
        return name
    return shlex.quote(os.path.relpath(path))


def _table(runs: Mapping[str, Path | Mapping[str, float]]) -> Table:
    table = Table(title="On held-out emoji", title_justify="left", title_style="bold")
    table.add_column("")
    for name in runs:
        table.add_column(name, justify="right")
    for row in compare(runs):
        cells = []
        for name in runs:
            value = row.values[name]
            text = "–" if value is None else f"{value:.3f}"
            best = len(row.best) < len(runs) and name in row.best
            cells.append(f"[bold]{text}[/]" if best else text)
        table.add_row(row.title, *cells)
    return table


def _what_next(workdir: Path, seconds: float, console: Console) -> None:
    place = shlex.quote(str(workdir))
    prolip = _program("prolip")
    lines = [
        f"Done in {seconds / 60:.1f} minutes. The report: [bold]{workdir / 'report.html'}[/]",
        "",
        "What to try next",
        f"  embed the images    {prolip} embed --checkpoint {place} --data tfds:emoji:test "
        "--out emoji.emb",
        f"  search them         {prolip} index emoji.emb",
        f'                      {prolip} search emoji.emb "smiling cat"',
        f"  train longer        {prolip} train --config emoji --workdir runs/long "
        "--config.total_steps=10000",
        "  your own data       README, section 'Train on your own data'",
    ]
    console.print()
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
