"""A JSON object a line, read when it is asked for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from prolip.data.files.lines import Lines
from prolip.data.files.names import printable
from prolip.data.records import BadRecord, DataError

LOOK = 100  # Lines that tell the columns.


class JsonFrame:
    """Columns are the keys of the first lines, and of later ones where one is asked for."""

    typed = True
    notes = ()
    more_names = True  # Lines need not have all keys, nor show each among the first of them.

    def __init__(self, path: Path):
        self._lines, self._path = Lines(path), path
        names: dict[str, None] = {}
        for row in range(min(LOOK, len(self._lines))):
            try:
                names |= dict.fromkeys(_object(self._lines, row))
            except BadRecord:
                continue
        self.names = list(names)

    def has(self, name: str) -> bool:
        """Returns True if any line has a key, found by the lines that have its letters.

        Raises:
          DataError: no line has it, and none of the first ones is a JSON object.
        """
        if name in self.names:
            return True
        spellings = {json.dumps(name, ensure_ascii=ascii_) for ascii_ in (True, False)}
        for spelling in spellings:
            for row in self._lines.with_text(spelling.encode("utf8", "surrogatepass")):
                try:
                    if name in _object(self._lines, row):
                        self.names.append(name)
                        return True
                except BadRecord:
                    continue
        if not self.names:
            raise DataError(
                f"{printable(self._path)} has no JSON object in its first lines; JSONL has one "
                "object a line, not a list of them"
            )
        return False

    def read(self, names: Sequence[str]) -> "list[JsonCells]":
        """Columns by name."""
        return [JsonCells(self._lines, name) for name in names]

    def fingerprint(self) -> str:
        """Of all bytes."""
        return self._lines.digest


class JsonCells:
    """Values of a key."""

    def __init__(self, lines: Lines, name: str):
        self._lines, self._name = lines, name

    def __len__(self) -> int:
        return len(self._lines)

    def arrow(self) -> pa.ChunkedArray:
        """All texts as bytes, null for other values; every line is parsed."""
        return pa.chunked_array([pa.array(map(self._bytes, range(len(self))), pa.large_binary())])

    def _bytes(self, row: int) -> bytes | None:
        try:
            value = self[row]
        except BadRecord:
            return None
        return value.encode("utf8", "surrogatepass") if isinstance(value, str) else None

    def __getitem__(self, row: int) -> Any:
        """Raises BadRecord if the line is no JSON object."""
        return _object(self._lines, row).get(self._name)


def _object(lines: Lines, row: int) -> dict[str, Any]:
    try:
        value = json.loads(lines[row])
    except BadRecord:
        raise
    except (ValueError, RecursionError) as error:
        raise BadRecord("line is not JSON") from error
    if not isinstance(value, dict):
        raise BadRecord("line is no JSON object")
    return value
