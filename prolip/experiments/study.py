"""What a study is: a question, the cells that answer it, and what is read from their runs."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from prolip.config import ConfigError

# Trains another cell of a seed; gives its workdir.
Train = Callable[["Cell", int], Path]
# Makes what a cell trains on, in a folder of its own: (cell, seed, folder, train).
Prepare = Callable[["Cell", int, Path, Train], "Prepared"]
# Cell -> seed -> metric -> value.
Metrics = Mapping[str, Mapping[int, Mapping[str, float]]]


class Prepared(NamedTuple):
    """What `Cell.prepare` gives."""

    changes: Sequence[str]  # Further ones of the configuration.
    metrics: Mapping[str, float]  # Shown as "prepared/NAME".


@dataclasses.dataclass(frozen=True)
class Cell:
    """A row of the table: one configuration, trained once for each seed."""

    name: str
    config: str  # As `prolip train --config` takes it.
    # "config.key=value"; "{seed}" stands for the number of the seed.
    changes: tuple[str, ...] = ()
    prepare: Prepare | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """A number of the table."""

    # Of the evaluation of the last step; "train/NAME" is the mean over the second half of training.
    metric: str
    title: str
    better: Literal["high", "low", ""] = "high"  # "": neither.
    digits: int = 3


class Value(NamedTuple):
    """A number over seeds."""

    mean: float
    error: float  # Standard error of the mean; NaN for one seed.
    num: int  # Seeds that have it.


@dataclasses.dataclass(frozen=True)
class Study:
    """A table."""

    name: str
    title: str
    question: str  # What it is to show, and the source of the claim.
    cells: tuple[Cell, ...]
    columns: tuple[Column, ...]
    seeds: int = 3
    more: Callable[[Metrics], str] | None = None  # Further Markdown from all runs.

    def select(self, names: Sequence[str]) -> "Study":
        """The study with some of its cells.

        Raises:
          ConfigError: there is no such cell.
        """
        known = {cell.name: cell for cell in self.cells}
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "it has"
                lines = "" if near else "".join(f"\n  {one!r}" for one in known)
                raise ConfigError(f"{self.name} has no cell {name!r}; {hint}{lines}")
        return dataclasses.replace(self, cells=tuple(known[name] for name in names))
