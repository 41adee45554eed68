"""Parquet files, a row group at a time: image columns are larger than memory."""

import collections
import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prolip.config import ConfigError
from prolip.data.files.names import printable
from prolip.data.records import BadRecord, DataError

KEPT = 2  # Row groups in memory: threads read on both sides of a boundary.


class ParquetFrame:
    """A Parquet file.

    Raises:
      DataError: it is none, or damaged.
    """

    typed = True
    more_names = False
    notes = ()

    def __init__(self, path: Path):
        self._path = path
        try:
            with pq.ParquetFile(path) as file:
                self._schema, self._metadata = file.schema_arrow, file.metadata
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{printable(path)} is no Parquet file: {error}") from error
        self.names = self._schema.names

    def read(self, names: Sequence[str]) -> "list[ParquetCells]":
        """Columns by name."""
        for name in names:
            kind = self._schema.field(name).type
            if not _usable(kind):
                raise ConfigError(
                    f"{printable(self._path)}: column {name!r} is {kind}, neither text nor an image"
                )
        return [ParquetCells(self._path, self._metadata, name) for name in names]

    def has(self, name: str) -> bool:
        """Whether there is a column."""
        return name in self.names

    def holds_bytes(self, name: str) -> bool:
        """Whether a column holds encoded images rather than texts."""
        return _holds_bytes(self._schema.field(name).type)

    def largest_group(self, name: str) -> int:
        """Bytes of a column in the row group where it has most of them."""
        sizes = [0]
        for group in range(self._metadata.num_row_groups):
            columns = self._metadata.row_group(group)
            for i in range(columns.num_columns):
                if columns.column(i).path_in_schema.partition(".")[0] == name:
                    sizes[-1] += columns.column(i).total_uncompressed_size
            sizes.append(0)
        return max(sizes)

    def load(self, names: Sequence[str]) -> "list[LoadedCells]":
        """Columns by name, of texts and numbers, whole in memory."""
        return [LoadedCells(self._path, self._metadata, name) for name in names]

    def fingerprint(self) -> str:
        """Of the footer, which has sizes and places of all columns."""
        about = json.dumps(self._metadata.to_dict(), default=str, sort_keys=True)
        return hashlib.sha256(f"{self._path.stat().st_size} {about}".encode()).hexdigest()


class ParquetCells:
    """Values of a column."""

    def __init__(self, path: Path, metadata: Any, name: str):
        self._begins = _begins(metadata)
        self._path, self._metadata, self._name = path, metadata, name
        self._lock = threading.Lock()
        self._kept: collections.OrderedDict[int, Any] = collections.OrderedDict()

    def __len__(self) -> int:
        return int(self._begins[-1])

    def __getitem__(self, row: int) -> Any:
        """Raises BadRecord if the row group is damaged."""
        group = int(np.searchsorted(self._begins, row, "right")) - 1
        with self._lock:
            if group not in self._kept:
                self._kept[group] = _read_group(self._path, self._metadata, self._name, group)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            column = self._kept[group]
        return _value(column, row - int(self._begins[group]))


class LoadedCells:
    """Values of a column, all in memory."""

    def __init__(self, path: Path, metadata: Any, name: str):
        self._begins = _begins(metadata)
        groups = range(metadata.num_row_groups)
        self._columns = [_read_group(path, metadata, name, group) for group in groups]

    def __len__(self) -> int:
        return int(self._begins[-1])

    def __getitem__(self, row: int) -> Any:
        """Raises BadRecord if the row group is damaged."""
        group = int(np.searchsorted(self._begins, row, "right")) - 1
        return _value(self._columns[group], row - int(self._begins[group]))


def _begins(metadata: Any) -> np.ndarray:
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    return np.concatenate([[0], np.cumsum(groups, dtype=np.int64)])


def _read_group(path: Path, metadata: Any, name: str, group: int) -> Any:
    """A column of a row group; None where it is damaged."""
    try:
        with pq.ParquetFile(path, metadata=metadata) as file:
            column = file.read_row_group(group, columns=[name]).column(name)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return column if len(column) == metadata.row_group(group).num_rows else None


def _value(column: Any, row: int) -> Any:
    if column is None:
        raise BadRecord("damaged row group")
    try:
        return column[row].as_py()
    except ValueError as error:  # Parquet's strings are not checked when they are read.
        raise BadRecord("text is not UTF-8") from error


def _holds_bytes(kind: Any) -> bool:
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return pa.types.is_struct(kind) or any(is_it(kind) for is_it in binary)


def _usable(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _usable(kind.value_type)
    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} >= {"bytes", "path"}
    types = pa.types
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer)
    bytes_ = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(is_it(kind) for is_it in (*texts, *bytes_))
