"""Parquet files, a row group at a time: image columns are larger than memory."""

import collections
import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prolip.config import ConfigError
from prolip.data.files.names import printable
from prolip.data.records import BadRecord, DataError

# Bytes of a column above which it may not be so many times as large as in the file.
SUSPECT, MOST_PACKED = 256 << 20, 500
# Bytes that values may take in memory, beside those of their pages.
MOST_UNPACKED, LEAST = 4, 64 << 20
PIECE, MOST_PIECE = 64, 1 << 30  # Rows and bytes read at a time where values may be repeated.
MANY_ROWS = 20_000  # More are read at once, with their dictionary.
MAX_DICTIONARY = (1 << 31) - (1 << 24)
PLAIN = {"PLAIN", "RLE", "BIT_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BINARY_PACKED"}
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
        """Columns by name, a row group at a time.

        Raises:
          ConfigError: a column is neither text nor an image.
          DataError: it unpacks to far more than it takes of the file.
        """
        for name in names:
            kind = self._schema.field(name).type
            if not _usable(kind) and not self.has_lists(name):
                raise ConfigError(
                    f"{printable(self._path)}: column {name!r} is {kind}, neither text nor an image"
                )
            for group in range(self._metadata.num_row_groups):
                self._check_size(name, [group])
        return [ParquetCells(self._path, self._metadata, name) for name in names]

    def check_texts(self, name: str) -> None:
        """Raises ConfigError unless a column holds texts or lists of texts."""
        kind = self._schema.field(name).type
        if _is_text(kind) or self.has_lists(name) or pa.types.is_null(kind):
            return
        fields = [kind.field(i).name for i in range(kind.num_fields)]
        hint = f"; write one of its fields ({', '.join(fields)}) as a column" if fields else ""
        raise ConfigError(
            f"{printable(self._path)}: column {name!r} is {kind}, not a text or a list of texts"
            f"{hint if pa.types.is_struct(kind) else ''}"
        )

    def has_lists(self, name: str) -> bool:
        """Returns True if a column holds lists of texts."""
        kind = self._schema.field(name).type
        return _is_list(kind) and _is_text(kind.value_type)

    def has(self, name: str) -> bool:
        """Returns True if there is a column of that name."""
        return name in self.names

    def holds_bytes(self, name: str) -> bool:
        """Returns True if a column holds encoded images rather than texts."""
        return _holds_bytes(self._schema.field(name).type)

    def largest_group(self, name: str) -> int:
        """Bytes of a column in the row group where it has most of them."""
        groups = range(self._metadata.num_row_groups)
        every = (_chunks(self._metadata, name, group) for group in groups)
        return max((sum(c.total_uncompressed_size for c in chunks) for chunks in every), default=0)

    def load(self, names: Sequence[str]) -> "list[LoadedCells]":
        """Columns by name, of texts and numbers, whole in memory.

        Raises:
          DataError: one unpacks to far more than it takes of the file.
        """
        for name in names:
            self._check_size(name, range(self._metadata.num_row_groups))
        return [LoadedCells(self._path, self._metadata, name) for name in names]

    def _check_size(self, name: str, groups: Iterable[int]) -> None:
        """Refuses what is small in the file and would fill the memory, by the footer."""
        chunks = [chunk for group in groups for chunk in _chunks(self._metadata, name, group)]
        stored = sum(chunk.total_compressed_size for chunk in chunks)
        pages = sum(chunk.total_uncompressed_size for chunk in chunks)
        values = 8 * sum(chunk.num_values for chunk in chunks)
        file = self._path.stat().st_size
        for size, inside in ((pages, min(stored, file)), (values, file)):
            if size > SUSPECT and size > MOST_PACKED * inside:
                raise DataError(
                    f"{printable(self._path)}: column {name!r} unpacks to {size >> 20:,} MiB from "
                    f"{inside / 1024:,.0f} KiB; more than {SUSPECT >> 20} MiB and {MOST_PACKED} "
                    "times as much is refused, for it could fill the memory"
                )

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

    def arrow(self) -> pa.ChunkedArray | None:
        """All values; None if a row group is damaged."""
        if any(column is None for column in self._columns):
            return None
        chunks = [chunk for column in self._columns for chunk in column.chunks]
        return pa.chunked_array([_plain(chunk) for chunk in chunks] or [pa.array([], pa.string())])

    def whole(self) -> pa.ChunkedArray:
        """All values.

        Raises:
          DataError: a row group is damaged.
        """
        values = self.arrow()
        if values is None:
            raise DataError("damaged row group")
        return values

    def __getitem__(self, row: int) -> Any:
        """Raises BadRecord if the row group is damaged."""
        group = int(np.searchsorted(self._begins, row, "right")) - 1
        return _value(self._columns[group], row - int(self._begins[group]))


def _begins(metadata: Any) -> np.ndarray:
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    return np.concatenate([[0], np.cumsum(groups, dtype=np.int64)])


def _read_group(path: Path, metadata: Any, name: str, group: int) -> Any:
    """A column of a row group; None where it is damaged.

    Raises:
      DataError: its values take far more memory than its pages.
    """
    chunks = _chunks(metadata, name, group)
    encodings = {encoding for chunk in chunks for encoding in chunk.encodings}
    texts = [c.path_in_schema for c in chunks if c.physical_type == "BYTE_ARRAY"]
    rows, size = metadata.row_group(group).num_rows, sum(c.total_uncompressed_size for c in chunks)
    # Values that are repeated by a dictionary stay so in memory. It can't be larger than 2 GiB.
    indexed = texts if any("DICTIONARY" in e for e in encodings) and size < MAX_DICTIONARY else None
    if "DELTA_BYTE_ARRAY" in encodings:  # Of such a value only what is new of it is stored.
        indexed = None
    column = None
    try:
        if not (encodings <= PLAIN or (indexed and rows > MANY_ROWS)):
            with pq.ParquetFile(path, metadata=metadata) as file:
                column = _in_pieces(file, name, group, size)
            if column is None and indexed is None:
                raise DataError(
                    f"{printable(path)}: column {name!r} has repeated values that take more than "
                    f"{MOST_UNPACKED} times the {size >> 20:,} MiB of row group {group}"
                )
        if column is None:
            with pq.ParquetFile(path, metadata=metadata, read_dictionary=indexed) as file:
                column = file.read_row_group(group, columns=[name]).column(name)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        return None
    return column if len(column) == rows else None


def _in_pieces(file: Any, name: str, group: int, size: int) -> Any:
    """A column, read some rows at a time; None as soon as it takes far more than its pages."""
    pieces, taken = [], 0
    # No value is larger than all pages.
    step = max(1, min(PIECE, MOST_PIECE // max(1, size)))
    for batch in file.iter_batches(step, row_groups=[group], columns=[name], use_threads=False):
        pieces.append(batch.column(0))
        taken += pieces[-1].nbytes
        if taken > MOST_UNPACKED * size + LEAST:
            return None
    return pa.chunked_array(pieces, file.schema_arrow.field(name).type)


def _chunks(metadata: Any, name: str, group: int) -> list[Any]:
    """Sums up what the footer says of a row group, for a column and all that is nested in it."""
    columns = metadata.row_group(group)
    every = (columns.column(i) for i in range(columns.num_columns))
    return [c for c in every if c.path_in_schema == name or c.path_in_schema.startswith(f"{name}.")]


def _value(column: Any, row: int) -> Any:
    if column is None:
        raise BadRecord("damaged row group")
    try:
        return column[row].as_py()
    except ValueError as error:  # Parquet's strings are not checked when they are read.
        raise BadRecord("text is not UTF-8") from error


def _plain(chunk: Any) -> Any:
    return chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk


def _holds_bytes(kind: Any) -> bool:
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return pa.types.is_struct(kind) or any(is_it(kind) for is_it in binary)


def _usable(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} >= {"bytes", "path"}
    return _is_text(kind) or pa.types.is_integer(kind)


def _is_text(kind: Any) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    bytes_ = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(is_it(kind) for is_it in (*texts, *bytes_))


def _is_list(kind: Any) -> bool:
    types = pa.types
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(is_it(kind) for is_it in (*lists, types.is_list_view, types.is_large_list_view))
