"""One column of a table as items: texts, encoded images, or paths of images."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prolip.config import ConfigError
from prolip.data.files.decoding import decoded
from prolip.data.files.frames import Cells, Frame, first_values
from prolip.data.files.names import is_image_name, printable
from prolip.data.files.packed import packed
from prolip.data.files.parquet import ParquetFrame
from prolip.data.files.reading import outside_note, path_inside, read_file
from prolip.data.records import BadRecord, DataError
from prolip.retrieval.collections.item import Item, check_unique
from prolip.retrieval.embeddings import Kind

# Columns that are taken when none is named, and are then said.
TEXT_COLUMNS = ("text", "caption", "title")
IMAGE_COLUMNS = ("image", "image_path", "file_name", "filename", "filepath", "path", "file")
LOOK = 100  # Cells that the kind is inferred from.


class Table:
    """A column of a table; ids are those of another column, or the numbers of rows from 0.

    A list of texts is as many items; the id of each has its number after a slash where there are
    several.

    Args:
      path: Of the file.
      frame: Its content.
      kind: None infers it from the first cells.
      column: "" takes the one with a usual name.
      id_column: "" numbers the rows.

    Raises:
      ConfigError: no such column, or it has to be named.
      DataError: the table is empty, or an id is missing or stands for two rows.
    """

    def __init__(
        self, path: Path, frame: Frame, kind: Kind | None, column: str = "", id_column: str = ""
    ):
        self._path = os.path.abspath(path)
        self._folder = os.path.realpath(os.path.dirname(self._path))
        self.source = printable(self._path)
        self.notes = []
        for wanted in (column, id_column):
            frame.has(wanted)  # A late key of JSONL is a name from now on.
        name = _column(frame.names, kind, column, id_column, self.source)
        if not column and len(frame.names) > 1:
            self.notes.append(f"column {name!r} is embedded; --column names another")
        self._cells, *ids = frame.read([name, id_column] if id_column else [name])
        self.notes += frame.notes
        if not len(self._cells):
            raise DataError(f"{self.source} has no row")
        self._ids = _ids(ids[0], f"{self.source}, column {id_column!r}") if ids else None
        self.kind: Kind = kind or _infer(self._cells)
        if kind is None:
            self.notes.append(f"taken as {self.kind}s; --kind says otherwise")
        self._begins = _begins(self._cells) if self.kind == "text" else None
        if self.kind == "image" and isinstance(frame, ParquetFrame) and frame.has_lists(name):
            raise ConfigError(f"{self.source}: column {name!r} holds lists, not images or paths")
        if self.kind == "image":
            self.notes += outside_note(self._folder, first_values(self._cells, LOOK))
        about = f"{frame.fingerprint()} {name!r} {id_column!r} {len(self._cells)}"
        self._fingerprint = hashlib.sha256(about.encode("utf8", "backslashreplace")).hexdigest()

    def __len__(self) -> int:
        return len(self._cells) if self._begins is None else int(self._begins[-1])

    def id(self, index: int) -> str:
        """From the id column, or the row; and the number of the text where there are several."""
        row, text = self._place(index)
        id_ = str(row) if self._ids is None else self._ids[row].as_py()
        return f"{id_}{text}"

    def __getitem__(self, index: int) -> Item:
        """Raises BadRecord if the cell has no image or text."""
        row, text = self._place(index)
        id_, uri, value = self.id(index), f"{self.source}::{row}{text}", self._cells[row]
        if isinstance(value, list) and self.kind == "text":
            value = value[int(text[1:] or 0)] if value else None
        if value is None:
            raise BadRecord(f"no {self.kind}")
        if self.kind == "text":
            return Item(id_, uri, None, _text(value))
        if isinstance(value, dict):  # As the `datasets` library writes images.
            value = value.get("path") if value.get("bytes") is None else value["bytes"]
        if isinstance(value, bytes):
            return Item(id_, uri, value, None)
        if not isinstance(value, str):
            raise BadRecord("neither an image nor a path")
        path = path_inside(self._folder, value.strip())
        return Item(id_, printable(path), read_file(path), None)

    def fingerprint(self) -> str:
        """Of the file's content and the columns."""
        return self._fingerprint

    def _place(self, index: int) -> tuple[int, str]:
        """Row of an item, and "/number" of its text where the row has several."""
        if self._begins is None:
            return index, ""
        row = int(np.searchsorted(self._begins, index, "right")) - 1
        begin, end = (int(n) for n in self._begins[row : row + 2])
        return row, f"/{index - begin}" if end - begin > 1 else ""


def _begins(cells: Cells) -> np.ndarray | None:
    """The first item of each row, and the end; None where no cell among the first is a list."""
    if not any(isinstance(value, list) for value in first_values(cells, LOOK)):
        return None
    counts = [len(v) if isinstance(v, list) else 1 for v in first_values(cells, len(cells))]
    return np.concatenate([[0], np.cumsum(np.maximum(counts, 1))])


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return decoded(value)
    if isinstance(value, list):
        raise BadRecord(f"a list of texts, and the first {LOOK} rows have none")
    if not isinstance(value, str):
        raise BadRecord("not a text")
    return value


def _column(
    names: Sequence[str], kind: Kind | None, column: str, id_column: str, source: str
) -> str:
    known = ", ".join(map(printable, names))
    for option, name in (("--column", column), ("--id-column", id_column)):
        if name and names.count(name) != 1:
            few = "several" if name in names else "no"
            raise ConfigError(f"{source} has {few} columns {name!r} ({option}); it has {known}")
    if column:
        return column
    usual = {"text": TEXT_COLUMNS, "image": IMAGE_COLUMNS, None: TEXT_COLUMNS + IMAGE_COLUMNS}
    others = [name for name in names if name != id_column]
    found = others if len(others) == 1 else [n for n in others if n.lower() in usual[kind]]
    if len(found) != 1:
        raise ConfigError(f"{source}: name the column to embed with --column; it has {known}")
    return found[0]


def _infer(cells: Cells) -> Kind:
    images = texts = 0
    for value in first_values(cells, LOOK):
        if isinstance(value, str):
            path = is_image_name(value.strip())
            images, texts = images + path, texts + (not path)
        elif isinstance(value, list):
            texts += 1
        elif value is not None:
            images += 1
    return "image" if images > texts else "text"


def _ids(cells: Cells, where: str) -> pa.Array:
    def values() -> Iterable[str]:
        for row in range(len(cells)):
            try:
                value = cells[row]
                if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                    text = str(value)
                    text.encode()
                    yield text
                    continue
                reason = "it is neither a text nor a whole number"
            except (BadRecord, UnicodeEncodeError) as error:
                reason = str(error)
            raise DataError(f"{where}: row {row} has no id ({reason})")

    ids = packed(values())
    check_unique(ids, where)
    return ids
