"""One run of a cell: its configuration, where it is kept, and training and evaluating it."""

import dataclasses
import hashlib
import json
import shlex
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from prolip.checkpoint import lease
from prolip.cli import configuration
from prolip.config import TrainConfig, to_dict
from prolip.evals.run import evaluate_workdir
from prolip.experiments.study import Cell, Prepared
from prolip.report.read import read_run
from prolip.train.loop import train
from prolip.workdir import Workdir, open_workdir, read_jsonl, write_whole

RESULT = "result.json"
SECONDS = "seconds.txt"  # That calls have worked on a run, but for those that were killed.
LEASE = "experiment.lease"
LEASE_SECONDS = 300.0  # After which that of a silent process of another machine has expired.


class Stopped(BaseException):
    """A signal stopped a run, which is saved; no error, so that nobody takes it for one."""

    def __init__(self, number: int):
        super().__init__(f"stopped by signal {int(number)}")
        self.number = number


class EvaluationFailed(RuntimeError):
    """An evaluator of a run failed."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the runs of all studies are; equal runs of two studies are one."""

    path: Path
    overrides: tuple[str, ...] = ()  # Of every cell.

    def run(self, cell: Cell, seed: int) -> Path:
        """The workdir of a cell and seed, by all that decides the result, and not by its name."""
        words = (cell.config, *self.words(cell, seed))
        prepared = cell.prepare.__qualname__ if cell.prepare else ""
        text = json.dumps([words, prepared, cell.name if prepared else ""])
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = "".join(c if c.isalnum() else "_" for c in cell.config)
        return self.path / f"{name}-{seed}-{digest}"

    def words(self, cell: Cell, seed: int) -> tuple[str, ...]:
        """All changes of the configuration."""
        own = tuple(word.replace("{seed}", str(seed)) for word in cell.changes)
        return (*own, f"config.seed={seed}", *self.overrides)

    def config(self, cell: Cell, seed: int, more: Sequence[str] = ()) -> TrainConfig:
        """The checked configuration.

        Raises:
          ConfigError: something about it is not right.
        """
        return configuration.load(cell.config, (*self.words(cell, seed), *more))

    def command(self, cell: Cell, seed: int) -> str:
        """What a user types to train the same, but for what `cell.prepare` makes."""
        # Of a key that is changed twice the last counts.
        last = {word.partition("=")[0]: word for word in self.words(cell, seed)}
        words = [f"--{word}" for word in last.values()]
        where = ["--workdir", str(self.run(cell, seed))]
        return shlex.join(["prolip", "train", "--config", cell.config, *where, *words])

    def result(self, cell: Cell, seed: int) -> dict[str, Any] | None:
        """What was measured; None if the run is not done."""
        path = self.run(cell, seed) / RESULT
        return json.loads(path.read_text(encoding="utf8")) if path.is_file() else None


def finish(place: Place, cell: Cell, seed: int) -> Mapping[str, Any]:
    """Trains and evaluates a run to its end, from where it is, and gives its result.

    Raises:
      Stopped: by a signal; the same call goes on.
      LeaseHeld: another process is training it.
      EvaluationFailed: an evaluator failed; its trace is in the workdir.
    """
    done = place.result(cell, seed)
    if done is not None:
        return done
    workdir = open_workdir(place.run(cell, seed))
    # Over training and evaluation: each of them has one of its own, with a moment between.
    held = lease.acquire(workdir.path / LEASE, LEASE_SECONDS)
    try:
        return place.result(cell, seed) or _finish(place, cell, seed, workdir)
    finally:
        held.release()


def _finish(place: Place, cell: Cell, seed: int, workdir: Workdir) -> Mapping[str, Any]:
    prepared = _prepared(place, cell, seed)
    config = place.config(cell, seed, prepared.changes)
    began = time.monotonic()
    try:
        _train_and_evaluate(config, workdir)
    finally:
        seconds = _seconds(workdir) + time.monotonic() - began
        write_whole(workdir.path / SECONDS, f"{seconds:.1f}\n")
    result = {
        "cell": cell.name,
        "seed": seed,
        "command": place.command(cell, seed),
        "seconds": _seconds(workdir),
        "metrics": {
            **read_run(workdir.path).evaluations[config.total_steps],
            **_training(workdir),
            **{f"prepared/{name}": value for name, value in prepared.metrics.items()},
        },
        "config": to_dict(config),
    }
    write_whole(workdir.path / RESULT, json.dumps(result, indent=1, sort_keys=True) + "\n")
    jax.clear_caches()  # Programs of this run; those on disk stay.
    return result


def _seconds(workdir: Workdir) -> float:
    path = workdir.path / SECONDS
    return float(path.read_text()) if path.is_file() else 0.0


def _train_and_evaluate(config: TrainConfig, workdir: Workdir) -> None:
    outcome = train(config, str(workdir.path), console=Console(quiet=True))
    if outcome.stopped_by is not None:
        raise Stopped(outcome.stopped_by)
    found = evaluate_workdir(workdir, step=config.total_steps, say=lambda _: None)
    if found.stopped:
        raise Stopped(signal.SIGTERM)
    if found.failed or found.damaged:
        causes = "; ".join([*found.failed.values(), *found.damaged.values()])
        raise EvaluationFailed(f"{workdir.path}: {causes}")


def _prepared(place: Place, cell: Cell, seed: int) -> Prepared:
    if cell.prepare is None:
        return Prepared((), {})
    # Absolute: paths in it become part of the configuration.
    folder = place.path.absolute() / "prepared" / place.run(cell, seed).name
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "prepared.json"
    if known.is_file():
        return Prepared(**json.loads(known.read_text(encoding="utf8")))

    def train_other(other: Cell, number: int) -> Path:
        finish(place, other, number)
        return place.run(other, number)

    found = cell.prepare(cell, seed, folder, train_other)
    write_whole(known, json.dumps(found._asdict()))
    return found


def _training(workdir: Workdir) -> dict[str, float]:
    """Means over the second half of training of what the trainer records."""
    lines = read_jsonl(workdir.metrics)
    later = lines[len(lines) // 2 :]
    names = {name for line in later for name, value in line.items() if _is_number(value)}
    return {
        # What was not finite has no number in its line.
        f"train/{name}": statistics.fmean(
            line[name] for line in later if _is_number(line.get(name))
        )
        for name in sorted(names - {"step", "samples_digest"})
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
