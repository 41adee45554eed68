"""CSV and TSV files; one missing quote can't swallow other rows unseen, see `quoting`."""

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from prolip.data.files.decoding import UTF8, file_encoding
from prolip.data.files.names import printable
from prolip.data.files.quoting import QuoteError, rows
from prolip.data.files.reading import file_hash
from prolip.data.records import BadRecord, DataError

BLOCK = 65_536  # Rows that are Python objects at a time.


class DelimitedFrame:
    """A file with a header; the columns that are read are kept in memory, packed.

    Raises:
      DataError: it has no header, or a quote is not where it may be.
    """

    typed = False
    more_names = False

    def __init__(self, path: Path, delimiter: str):
        self._path, self._delimiter = path, delimiter
        self._literal: tuple[int, int] | None = None
        self.names = next(self._rows(), [])
        if not any(self.names):
            raise DataError(f"{printable(path)} has no header line that names its columns")

    def read(self, names: Sequence[str]) -> "list[DelimitedCells]":
        """Columns by name."""
        wanted = [self.names.index(name) for name in names]
        blocks: list[list[pa.Array]] = [[] for _ in names]
        bad: dict[int, str] = {}
        block: list[list[bytes]] = []
        lines = self._rows()
        next(lines)
        for row, values in enumerate(lines):
            if len(values) != len(self.names):
                short = len(values) < len(self.names)
                bad[row] = f"row has {'fewer' if short else 'more'} values than the header"
                block.append([b""] * len(wanted))
            else:
                block.append([values[i].encode("utf8", "surrogateescape") for i in wanted])
            if len(block) == BLOCK:
                _pack(block, blocks)
        _pack(block, blocks)
        return [DelimitedCells(pa.chunked_array(b, pa.large_binary()), bad) for b in blocks]

    def has(self, name: str) -> bool:
        """Returns True if there is a column of that name."""
        return name in self.names

    def fingerprint(self) -> str:
        """Of all bytes."""
        return file_hash(self._path)

    @property
    def notes(self) -> list[str]:
        """A sentence on quote marks that were taken as text by the last reading."""
        if not self._literal:
            return []
        count, line = self._literal
        which = "a quote mark of 1 row is" if count == 1 else f"quote marks of {count:,} rows are"
        return [
            f"{printable(self._path.name)}: {which} taken as text, for it is not that of a quoted "
            f"field (the first in line {line:,})"
        ]

    def _rows(self) -> Iterator[list[str]]:
        # Of the whole process, where another thread may read: it is not put back. A long text is
        # a text.
        csv.field_size_limit(sys.maxsize)
        count = first = 0

        def literal(line: int) -> None:
            nonlocal count, first
            count, first = count + 1, first or line

        try:
            yield from rows(self._lines, self._delimiter, literal)
        except QuoteError as error:
            raise DataError(
                f"{printable(self._path)}, {error}; mend the quotes, or write the table as Parquet "
                "or JSONL"
            ) from error
        self._literal = (count, first) if count else None

    def _lines(self) -> Iterator[str]:
        encoding = file_encoding(self._path)
        # Bytes that are not UTF-8 come through, so that only their row fails.
        errors = "surrogateescape" if encoding == UTF8 else "replace"
        with self._path.open(encoding=encoding, errors=errors, newline="") as file:
            yield from file


class DelimitedCells:
    """Values of a column."""

    def __init__(self, values: pa.ChunkedArray, bad: dict[int, str]):
        self._values, self._bad = values, bad

    def __len__(self) -> int:
        return len(self._values)

    def arrow(self) -> pa.ChunkedArray:
        """All values as bytes; rows that can't be used are empty."""
        return self._values

    def __getitem__(self, row: int) -> str:
        """Raises BadRecord if the row has another number of values, or is not UTF-8."""
        if row in self._bad:
            raise BadRecord(self._bad[row])
        try:
            return self._values[row].as_py().decode()
        except UnicodeDecodeError as error:
            raise BadRecord("text is not UTF-8") from error


def _pack(block: list[list[bytes]], blocks: list[list[pa.Array]]) -> None:
    for column, packed in enumerate(blocks):
        packed.append(pa.array([values[column] for values in block], pa.large_binary()))
    block.clear()
