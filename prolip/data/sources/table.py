"""Tables (CSV, TSV, JSONL, Parquet) whose rows have an image, or the path of one, and texts."""

import functools
import hashlib
import math
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prolip.config import ConfigError
from prolip.data.files.decoding import decoded
from prolip.data.files.delimited import DelimitedCells
from prolip.data.files.frames import FRAMES, Cells, Frame, first_values
from prolip.data.files.jsonl import JsonCells
from prolip.data.files.names import printable, visible
from prolip.data.files.parquet import LoadedCells, ParquetFrame
from prolip.data.files.reading import outside_note, path_inside, read_file, states
from prolip.data.labels import label_of
from prolip.data.near import unknown
from prolip.data.records import BadRecord, DataError, Record
from prolip.data.sources.same_image import SameImage
from prolip.data.sources.source import Source

LOOK = 100  # Rows of JSONL that tell what a column holds.
SLOW_GROUP = 8 << 20  # Bytes of images in a row group, above which a note says so.
MOST_GROUPED = 5_000_000  # Rows that are grouped by image, seconds for each million lines of JSON.


class Table(Source):
    """Rows of one or several files with the same columns, in order.

    Columns are kept in memory, packed, but for images inside Parquet: those are read a row group
    at a time, which is slow in random order where the groups are large.

    Args:
      paths: Of the files.
      image: A column with encoded images, or with paths below the folder of its file.
      captions: Columns with a text, or a list of texts.
      labels: Columns with class names.

    Raises:
      DataError: a file is missing or damaged, or has no such column.
    """

    name = "table"

    def __init__(
        self, paths: Sequence[str], image: str, captions: Sequence[str], labels: Sequence[str] = ()
    ):
        self._arguments = (tuple(paths), image, tuple(captions), tuple(labels))
        self._frames = [_frame(path) for path in paths]
        common = os.path.commonpath([os.path.dirname(path) for path in paths])
        self._names = [printable(os.path.relpath(path, common)) for path in paths]
        self._folders = [os.path.realpath(os.path.dirname(path)) for path in paths]
        self._image, self._captions, self._labels = image, tuple(captions), tuple(labels)
        for column in (image, *captions, *labels):
            self._check_column(column)
        for column in captions:
            self._check_captions(column)
        self._images: list[Cells] = [_images(frame, image) for frame in self._frames]
        self._begins = np.cumsum([0, *(len(cells) for cells in self._images)])
        if not len(self):
            raise DataError(f"{', '.join(self._names[:3])}: no rows")
        self._columns: dict[tuple[int, str], Cells] = {}
        self._lock = threading.Lock()
        self.notes = [note for frame in self._frames for note in frame.notes]
        for frame, cells, folder in zip(self._frames, self._images, self._folders, strict=True):
            if _largest_group(frame, image) == 0:  # Not of encoded images in Parquet.
                self.notes += outside_note(folder, first_values(cells, LOOK))
        if len(self) > MOST_GROUPED:
            self._same = SameImage((), ())
            self.notes.append(
                f"{len(self):,} rows are not grouped by image (at most {MOST_GROUPED:,} are): only "
                "rows of one image that meet in a batch share their captions"
            )
        else:
            self._same = SameImage([_paths(cells) for cells in self._images], self._folders)
            self.notes += [self._same.note] if self._same.note else []
        largest = max(_largest_group(frame, image) for frame in self._frames)
        if largest > SLOW_GROUP:
            self.notes.append(
                f"images inside Parquet are read a row group at a time, here up to "
                f"{largest / 2**20:,.0f} MiB for one image in random order; "
                "`prolip data import` makes a copy that is read image by image"
            )

    def __len__(self) -> int:
        return int(self._begins[-1])

    def key(self, index: int) -> str:
        """Path of the file below the folder that all share, and the row in it from 0."""
        file, row = self._place(index)
        return f"{self._names[file]}::{row}"

    def __getitem__(self, index: int) -> Record:
        """Raises BadRecord if the row has no image, or a cell can't be read."""
        file, row = self._place(index)
        captions = self.captions(index)
        labels = tuple(label_of(self._column(file, c)[row]) for c in self._labels)
        image = _image(self._images[file][row], self._folders[file])
        return Record(image, captions, labels, self.key(index))

    def captions(self, index: int) -> tuple[tuple[str, ...], ...]:
        file, row = self._place(index)
        return tuple(tuple(_texts(self._column(file, c)[row])) for c in self._captions)

    def same_image(self, index: int) -> Sequence[int]:
        """Rows that give the same path."""
        return self._same.others(index)

    @functools.cache  # noqa: B019 - One source lives as long as its run.
    def digest(self) -> str:
        """Of all bytes of the files; of Parquet, of its footer."""
        digest = hashlib.sha256()
        for name, frame in zip(self._names, self._frames, strict=True):
            digest.update(f"{name} {frame.fingerprint()}\n".encode())
        return digest.hexdigest()

    def state(self) -> str:
        """Of the digest, sizes and times of the files; not of images that they have paths of."""
        return f"{self.digest()} {states(self._arguments[0])}"

    @property
    def fields(self) -> Collection[str]:
        """All columns of any file but the image."""
        names = dict.fromkeys(name for frame in self._frames for name in frame.names)
        return [name for name in names if name != self._image]

    def seek_fields(self, names: Collection[str]) -> Collection[str]:
        """Columns, also those that the first lines of JSONL files don't have."""
        for name in names:
            any(frame.has(name) for frame in self._frames)
        return super().seek_fields(names)

    def about(self, index: int, names: Collection[str]) -> Mapping[str, Any]:
        """Cells of a row; in CSV and TSV a number is its value.

        Raises:
          BadRecord: the row can't be read.
          DataError: one of several files lacks the column.
        """
        file, row = self._place(index)
        values = {name: self._column(file, name)[row] for name in names}
        found = {name: value for name, value in values.items() if value not in (None, "")}
        if self._frames[file].typed:
            return found
        return {name: _number(value) for name, value in found.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return Table, self._arguments

    def _check_column(self, column: str) -> None:
        lacking = [i for i, frame in enumerate(self._frames) if not frame.has(column)]
        anywhere = len(lacking) < len(self._frames)
        for i, (frame, name) in enumerate(zip(self._frames, self._names, strict=True)):
            if i in lacking and not (anywhere and frame.more_names):
                raise DataError(unknown(column, frame.names, f"{name} has no column"))
            if list(frame.names).count(column) > 1:
                raise DataError(f"{name} has several columns {column!r}; rename all but one")

    def _check_captions(self, column: str) -> None:
        """Refuses at once what would make every record a bad one."""
        for frame, name in zip(self._frames, self._names, strict=True):
            if isinstance(frame, ParquetFrame):
                frame.check_texts(column)
            elif frame.typed and (kind := _no_texts(frame.read([column])[0])):
                raise ConfigError(
                    f"{name}: the first {LOOK} rows of {column!r} hold {kind}, and no text or list "
                    "of texts; name another column"
                )

    def _place(self, index: int) -> tuple[int, int]:
        file = int(np.searchsorted(self._begins, index, "right")) - 1
        return file, index - int(self._begins[file])

    def _column(self, file: int, column: str) -> Cells:
        found = self._columns.get((file, column))
        if found is None:
            with self._lock:  # Or each thread would parse the file.
                if (file, column) not in self._columns:
                    self._columns[file, column] = self._read(file, column)
                found = self._columns[file, column]
        return found

    def _read(self, file: int, column: str) -> Cells:
        frame = self._frames[file]
        if not frame.more_names and column not in frame.names:
            raise DataError(f"{self._names[file]} has no column {column!r}, which other files have")
        read = frame.load if isinstance(frame, ParquetFrame) else frame.read
        return read([column])[0]


def _frame(path: str) -> Frame:
    end = os.path.splitext(path)[1].lower()
    if end not in FRAMES:
        raise DataError(f"{printable(path)} is no table; known: {', '.join(FRAMES)}")
    if not os.path.isfile(path):
        raise DataError(f"{printable(path)} is missing or no file")
    return FRAMES[end](Path(path))


def _no_texts(cells: Cells) -> str:
    """The kind of the first values; "" where one of them is a text or a list, or none is there."""
    kinds = set()
    for value in first_values(cells, LOOK):
        if isinstance(value, str):
            return ""
        if isinstance(value, list):
            if not any(isinstance(part, dict | list) for part in value):
                return ""
            kinds.add("lists of objects or of lists")
        elif isinstance(value, dict):
            kinds.add(f"objects with the fields {', '.join(map(visible, list(value)[:8]))}")
        elif value is not None:
            kinds.add("numbers")
    return min(kinds, default="")


def _largest_group(frame: Frame, column: str) -> int:
    if isinstance(frame, ParquetFrame) and frame.holds_bytes(column):
        return frame.largest_group(column)
    return 0


def _images(frame: Frame, column: str) -> Cells:
    if isinstance(frame, ParquetFrame) and not frame.holds_bytes(column):
        if not frame.has_lists(column):
            return frame.load([column])[0]
        raise ConfigError(f"column {column!r} holds lists, not images or paths")
    return frame.read([column])[0]


def _paths(cells: Cells) -> pa.ChunkedArray | None:
    """Paths of all images; None where they are encoded images."""
    return cells.arrow() if isinstance(cells, DelimitedCells | JsonCells | LoadedCells) else None


def _image(value: Any, folder: str) -> bytes:
    if isinstance(value, dict):  # As the `datasets` library writes images.
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if value is None or value == "":
        raise BadRecord("row has no image")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise BadRecord("neither an image nor a path")
    return read_file(path_inside(folder, value.strip()))


def _texts(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    values = [text for text in listed if text is not None]
    texts = [decoded(text) if isinstance(text, bytes) else text for text in values]
    if not all(isinstance(text, str) for text in texts):
        raise BadRecord("caption is no text")
    return texts


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value  # "nan" is where a number is missing.
