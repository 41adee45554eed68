"""Workdir -> what a report shows. Everything may be missing, cut short or damaged."""

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prolip.config import CheckpointConfig, ConfigError
from prolip.evals import ledger
from prolip.evals.entries import DAMAGED, DONE, Entry, is_step, read_entry, read_note
from prolip.evals.summary import best_step, merged
from prolip.workdir import Workdir, read_jsonl

LARGEST = 1e300  # Of a logged number; what is larger can't be drawn.


class Series(NamedTuple):
    """A logged number over training; only its finite values."""

    steps: np.ndarray  # [N] int64, ascending.
    values: np.ndarray  # [N] float64.


@dataclass(frozen=True)
class Artefact:
    """What an evaluator left for the report beside its numbers."""

    notes: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    folder: Path = Path()  # Of its files.

    def has(self, *names: str) -> bool:
        """Whether all these notes or arrays are there."""
        return all(name in self.notes or name in self.arrays for name in names)


@dataclass(frozen=True)
class Run:
    """All of a workdir that a report shows."""

    path: Path
    config: dict[str, Any]  # Empty if there is none.
    training: dict[str, Series]
    evaluations: dict[int, dict[str, float]]  # Step -> metric -> value, ascending.
    artefacts: dict[str, Artefact]  # By evaluator, of `step`.
    notices: list[str]  # What went wrong on the way, in sentences.
    step: int | None  # The newest of the steps that most evaluators have finished.
    best: int | None  # By what keeps checkpoints; None where no step has that metric.
    best_metric: str  # config.checkpoint.best_metric

    @property
    def metrics(self) -> dict[str, float]:
        """Of `step`."""
        return self.evaluations[self.step] if self.step is not None else {}

    def artefact(self, evaluator: str) -> Artefact:
        """An empty one if the evaluator has not run."""
        return self.artefacts.get(evaluator, Artefact())


def read_run(path: str | Path, results: str | Path | None = None) -> Run:
    """Reads a workdir. What is damaged is left out, and a notice names it.

    Args:
      path: of the workdir.
      results: where the evaluations are; None: in the workdir.

    Raises:
      ConfigError: there is no such directory.
    """
    workdir = Workdir(Path(path).expanduser().absolute())
    if not workdir.path.is_dir():
        raise ConfigError(f"{path} is not a directory; name the workdir of a run")
    folder = Path(results).expanduser().absolute() if results else workdir.path
    damaged: list[str] = [str(path) for path in ledger.damaged(folder)]
    newest = ledger.newest(folder)
    evaluations = {step: merged(entries) for step, entries in newest.items()}
    shown = max(newest, key=lambda step: (len(newest[step]), step), default=None)
    artefacts = {
        name: artefact
        for name, entry in (newest[shown] if shown is not None else {}).items()
        if (artefact := _artefact(folder, entry, damaged)) is not None
    }
    config = _config(workdir.config, damaged)
    rule = {**dataclasses.asdict(CheckpointConfig()), **config.get("checkpoint", {})}
    rows = _rows(workdir.metrics, damaged)
    return Run(
        path=workdir.path,
        config=config,
        training=_series(rows),
        evaluations=evaluations,
        artefacts=artefacts,
        notices=[*_notices(workdir, folder, rows), *map(left_out, damaged)],
        step=shown,
        best=best_step(evaluations, rule["best_metric"], rule["best_mode"]),
        best_metric=rule["best_metric"],
    )


def left_out(file: str, why: str = "") -> str:
    """The notice for a file that can't be shown."""
    return f"{file} is damaged{f' ({why})' if why else ''} and left out of this report."


def _config(path: Path, damaged: list[str]) -> dict[str, Any]:
    """The configuration; of one that other versions wrote, whatever it has."""
    config = _json(path, damaged)
    parts = ("checkpoint", "data", "eval", "model", "objective")
    rule = config.get("checkpoint", {})
    good = all(isinstance(config.get(part, {}), dict) for part in parts) and all(
        isinstance(rule.get(key, ""), str) for key in ("best_metric", "best_mode")
    )
    if good:
        return config
    damaged.append(str(path))
    return {}


def _rows(path: Path, damaged: list[str]) -> list[dict[str, Any]]:
    """Lines of the record of training; the last one may be on its way."""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    rows, bad = [], 0
    for line in lines[:-1]:
        try:
            row = json.loads(line)
            if is_step(row["step"]):
                rows.append(row)
                continue
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        bad += 1
    if bad:
        damaged.append(f"{path} ({bad} lines)")
    return rows


def _series(rows: list[dict[str, Any]]) -> dict[str, Series]:
    points: dict[str, dict[int, float]] = {}
    for row in rows:  # A later line of the same step replaces the earlier one.
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and abs(value) < LARGEST:
                points.setdefault(name, {})[int(row["step"])] = float(value)
    return {
        name: Series(np.array(sorted(at)), np.array([at[step] for step in sorted(at)]))
        for name, at in points.items()
    }


def _artefact(folder: Path, entry: Entry, damaged: list[str]) -> Artefact | None:
    for place in (folder / "evals").glob(f"{entry.step}-*"):
        done = read_entry(place / f"{entry.evaluator}{DONE}")
        if done is not None and done.key == entry.key:
            notes = _json(place / f"{entry.evaluator}.json", damaged)
            return Artefact(notes, _arrays(place / f"{entry.evaluator}.npz", damaged), place)
    return None


def _json(path: Path, damaged: list[str]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf8"))
        if isinstance(values, dict):
            return values
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        pass
    damaged.append(str(path))
    return {}


def _arrays(path: Path, damaged: list[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        damaged.append(str(path))
        return {}


def _notices(workdir: Workdir, folder: Path, rows: list[dict[str, Any]]) -> Iterator[str]:
    skipped = sum(1 for row in rows if row.get("finite") in (False, 0))
    if skipped:
        yield f"Logged training steps with a loss or gradient that is not finite: {skipped}."
    bad = len(read_jsonl(workdir.quarantine))
    if bad:
        yield f"Records that could not be read: {bad}; {workdir.quarantine.name} lists them."
    for note in ledger.failures(folder):
        error = str(note.get("error", "unknown error")).strip().splitlines()
        step, evaluator = note["step"], note["evaluator"]
        yield f"Evaluator {evaluator} failed at step {step}: {error[-1] if error else ''}"
    for path in sorted((folder / "evals").glob(f"*/{DAMAGED}")):
        if damage := read_note(path):
            yield f"The checkpoint of step {damage['step']} is damaged and was not evaluated."
