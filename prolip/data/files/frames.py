"""A table in a file, whatever its format."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from prolip.data.files.delimited import DelimitedFrame
from prolip.data.files.jsonl import JsonFrame
from prolip.data.files.parquet import ParquetFrame
from prolip.data.records import BadRecord


class Cells(Protocol):
    """Values of a column by row."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Any:
        """A string, bytes, None, or a mapping with `bytes` and `path`; raises BadRecord."""


class Frame(Protocol):
    """A table."""

    typed: bool  # Whether the format says what is a number; else all cells are texts.
    more_names: bool  # Whether rows may have other columns than `names`.

    @property
    def names(self) -> Sequence[str]:
        """Of its columns."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on what was read otherwise than it looks."""

    def has(self, name: str) -> bool:
        """Returns True if any row has a column, also one that the first rows don't have."""

    def read(self, names: Sequence[str]) -> Sequence[Cells]:
        """These columns, all of the same length."""

    def fingerprint(self) -> str:
        """Changes with the content."""


# Readers by the end of a file's name.
FRAMES: dict[str, Callable[[Path], Frame]] = {
    ".csv": lambda path: DelimitedFrame(path, ","),
    ".tsv": lambda path: DelimitedFrame(path, "\t"),
    ".jsonl": JsonFrame,
    ".parquet": ParquetFrame,
}


def first_values(cells: Cells, most: int) -> Iterator[Any]:
    """The first cells of a column; None of those that can't be read."""
    for row in range(min(most, len(cells))):
        try:
            yield cells[row]
        except BadRecord:
            yield None
