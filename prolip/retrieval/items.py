"""What is known of the items of a collection besides their Gaussians, by row; and filters on it."""

import bisect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prolip.data.records import DataError

COLUMNS = ("id", "uri", "text")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])


class Item(NamedTuple):
    """One item."""

    id: str
    uri: str | None = None
    text: str | None = None


# A boolean mask over the rows; ids; "column=pattern" with * and ?; or a test of one item.
Filter = np.ndarray | Sequence[str] | str | Callable[[Item], bool]


class Items:
    """All items. Those of a file are mapped: what is not asked for is not read."""

    def __init__(self, table: Any):
        self._columns = [table.column(name) for name in COLUMNS]
        lengths = [chunk.num_chunks for chunk in self._columns]
        assert len(set(lengths)) == 1, lengths
        sizes = [len(chunk) for chunk in self._columns[0].chunks]
        self._firsts = [0, *np.cumsum(sizes).tolist()]

    @classmethod
    def open(cls, path: Path) -> "Items":
        """Items of a file that `write_items` wrote.

        Raises:
          DataError: it is damaged.
        """
        try:
            return cls(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(f"{path} is damaged: {error}") from error

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        uris: Sequence[str | None] | None = None,
        texts: Sequence[str | None] | None = None,
    ) -> "Items":
        """Items in memory."""
        return cls(pa.table(_columns(ids, uris, texts), schema=SCHEMA))

    def __len__(self) -> int:
        return self._firsts[-1]

    def __getitem__(self, row: int) -> Item:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        chunk = bisect.bisect_right(self._firsts, row) - 1
        place = row - self._firsts[chunk]
        return Item(*(column.chunk(chunk)[place].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[Item]:
        for chunk in range(len(self._firsts) - 1):
            lists = [column.chunk(chunk).to_pylist() for column in self._columns]
            yield from (Item(*values) for values in zip(*lists, strict=True))

    def mask(self, keep: Filter) -> np.ndarray:
        """Boolean [rows], one byte each: which items a filter lets pass.

        Raises:
          DataError: a mask of another length, a pattern that can't be read, or ids of which none
            is in the collection.
        """
        if callable(keep):
            return np.fromiter((bool(keep(item)) for item in self), bool, len(self))
        if isinstance(keep, str):
            return self._like(keep)
        if isinstance(keep, np.ndarray) and keep.dtype == bool:
            if keep.shape != (len(self),):
                raise DataError(
                    f"the filter has shape {list(keep.shape)}; the collection has {len(self)} items"
                )
            return keep
        return self._among([str(id_) for id_ in keep])

    def _like(self, text: str) -> np.ndarray:
        name, equals, pattern = text.partition("=")
        if not equals or name not in COLUMNS:
            raise DataError(
                f"filter {text!r} is not COLUMN=PATTERN with one of the columns "
                f"{', '.join(COLUMNS)}; * stands for any letters, ? for one"
            )
        wild = {"*": ".*", "?": "."}
        expression = "".join(wild.get(letter) or re.escape(letter) for letter in pattern)
        try:
            matching = pc.match_substring_regex(
                self._columns[COLUMNS.index(name)], rf"(?s)\A{expression}\z"
            )
        except pa.ArrowException as error:  # Of thousands of letters.
            raise DataError(f"filter {name}=...: the pattern can't be used ({error})") from error
        return _booleans(matching, len(self))

    def _among(self, ids: Sequence[str]) -> np.ndarray:
        known = _booleans(pc.is_in(self._columns[0], pa.array(ids, pa.string())), len(self))
        # A list for several collections may name strangers; one of strangers only is a mistake.
        if ids and len(self) and not known.any():
            raise DataError(
                f"none of the {len(ids)} ids is in the collection: the first is {ids[0]!r}, "
                f"while the first item is {self[0].id!r}"
            )
        return known


def write_items(path: Path, batches: Iterable[tuple[Sequence, Sequence, Sequence]]) -> int:
    """Writes ids, URIs and texts; returns how many."""
    count = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(pa.record_batch(_columns(*batch), schema=SCHEMA))
            count += len(batch[0])
    return count


def _columns(ids: Sequence, uris: Sequence | None, texts: Sequence | None) -> list[Any]:
    empty = [None] * len(ids)
    values = (ids, empty if uris is None else uris, empty if texts is None else texts)
    return [pa.array(column, pa.string()) for column in values]


def _booleans(values: Any, count: int) -> np.ndarray:
    if count == 0:
        return np.zeros(0, bool)
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool)
