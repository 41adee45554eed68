"""Workdir -> what a report shows. Everything may be missing, cut short or damaged."""

import contextlib
import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prolip.config import CheckpointConfig, ConfigError
from prolip.evals import ledger
from prolip.evals.summary import best_step, merged
from prolip.workdir import Workdir, read_jsonl


class Series(NamedTuple):
    """A logged number over training; only its finite values."""

    steps: np.ndarray  # [N] int64, ascending.
    values: np.ndarray  # [N] float64.


@dataclass(frozen=True)
class Artefact:
    """What an evaluator left for the report beside its numbers."""

    notes: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

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


def read_run(path: str | Path) -> Run:
    """Reads a workdir.

    Raises:
      ConfigError: there is no such directory.
    """
    workdir = Workdir(Path(path).expanduser().absolute())
    if not workdir.path.is_dir():
        raise ConfigError(f"{path} is not a directory; name the workdir of a run")
    newest = ledger.newest(workdir.path)
    evaluations = {step: merged(entries) for step, entries in newest.items()}
    shown = max(newest, key=lambda step: (len(newest[step]), step), default=None)
    artefacts = {
        name: artefact
        for name, entry in (newest[shown] if shown is not None else {}).items()
        if (artefact := _artefact(workdir.path, entry)) is not None
    }
    config = _json(workdir.config)
    rule = {**dataclasses.asdict(CheckpointConfig()), **config.get("checkpoint", {})}
    rows = [row for row in read_jsonl(workdir.metrics) if isinstance(row, dict) and "step" in row]
    return Run(
        path=workdir.path,
        config=config,
        training=_series(rows),
        evaluations=evaluations,
        artefacts=artefacts,
        notices=[*_notices(workdir, rows)],
        step=shown,
        best=best_step(evaluations, rule["best_metric"], rule["best_mode"]),
        best_metric=rule["best_metric"],
    )


def _series(rows: list[dict[str, Any]]) -> dict[str, Series]:
    points: dict[str, dict[int, float]] = {}
    for row in rows:  # A later line of the same step replaces the earlier one.
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                points.setdefault(name, {})[int(row["step"])] = float(value)
    return {
        name: Series(np.array(sorted(at)), np.array([at[step] for step in sorted(at)]))
        for name, at in points.items()
    }


def _artefact(workdir: Path, entry: ledger.Entry) -> Artefact | None:
    for folder in (workdir / "evals").glob(f"{entry.step}-*"):
        done = _json(folder / f"{entry.evaluator}{ledger.DONE}")
        if (done.get("manifest"), done.get("config")) == (entry.manifest, entry.config):
            notes = _json(folder / f"{entry.evaluator}.json")
            return Artefact(notes, _arrays(folder / f"{entry.evaluator}.npz"))
    return None


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf8"))
        if isinstance(found, dict):
            return found
    return {}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def _notices(workdir: Workdir, rows: list[dict[str, Any]]) -> Iterator[str]:
    skipped = sum(1 for row in rows if row.get("finite") in (False, 0))
    if skipped:
        yield f"Logged training steps with a loss or gradient that is not finite: {skipped}."
    bad = len(read_jsonl(workdir.quarantine))
    if bad:
        yield f"Records that could not be read: {bad}; {workdir.quarantine.name} lists them."
    for path in sorted((workdir.path / "evals").glob(f"*/*{ledger.FAILED}")):
        note = _json(path)
        error = str(note.get("error", "unknown error")).strip().splitlines()
        step, evaluator = note.get("step"), note.get("evaluator")
        yield f"Evaluator {evaluator} failed at step {step}: {error[-1] if error else ''}"
    for path in sorted((workdir.path / "evals").glob(f"*/{ledger.DAMAGED}")):
        yield f"The checkpoint of step {_json(path).get('step')} is damaged and was not evaluated."
