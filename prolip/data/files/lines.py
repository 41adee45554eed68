"""A text file as numbered lines: in memory is only where each of them ends."""

import codecs
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from prolip.data.files.decoding import UTF8, file_encoding
from prolip.data.files.names import printable
from prolip.data.files.reading import OpenFile
from prolip.data.records import BadRecord, DataError

CHUNK = 1 << 24  # Bytes looked through at a time.


class Lines:
    """Lines as UTF-8; they end with a line feed, the carriage return before it is left out.

    Attributes:
      digest: SHA-256 of the file.

    Raises:
      DataError: the file is in another encoding by its byte order mark.
    """

    def __init__(self, path: Path):
        digest, position, ends, last, begins = hashlib.sha256(), 0, [], b"", 0
        if (other := file_encoding(path)) != UTF8:
            raise DataError(
                f"{printable(path)} is {other.upper()}; convert it: iconv -f {other} -t utf-8"
            )
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                if not position and chunk.startswith(codecs.BOM_UTF8):
                    begins = len(codecs.BOM_UTF8)
                digest.update(chunk)
                ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10) + position)
                position, last = position + len(chunk), chunk[-1:]
        if last not in (b"", b"\n"):
            ends.append(np.array([position]))
        self._ends = np.concatenate(ends) if ends else np.zeros(0, np.int64)
        self._begins, self.digest = begins, digest.hexdigest()
        self._file = OpenFile(path)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        """Raises BadRecord if the line is not UTF-8."""
        begin = self._begin(index)
        line = self._file.read(begin, int(self._ends[index]) - begin)
        try:
            return line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise BadRecord("text is not UTF-8") from error

    def with_text(self, text: bytes) -> Iterator[int]:
        """Numbers of the lines that have these bytes in them, in order."""
        first = 0
        while first < len(self):
            begin = self._begin(first)
            last = max(first + 1, int(np.searchsorted(self._ends, begin + CHUNK, "right")))
            try:
                block = self._file.read(begin, int(self._ends[last - 1]) - begin)
            except BadRecord:  # One line that is too long to be read.
                block = b""
            position = block.find(text)
            while position >= 0:
                line = int(np.searchsorted(self._ends, begin + position))
                yield line
                position = block.find(text, int(self._ends[line]) - begin)
            first = last

    def _begin(self, index: int) -> int:
        return int(self._ends[index - 1]) + 1 if index else self._begins


class TextFrame:
    """Lines as a table of one column without a name of its own."""

    names = ("text",)
    typed = False
    more_names = False
    notes = ()

    def __init__(self, path: Path):
        self._lines = Lines(path)

    def read(self, names: Sequence[str]) -> list[Lines]:
        """The column, once for each name."""
        return [self._lines for _ in names]

    def has(self, name: str) -> bool:
        """Returns True for the column's name."""
        return name in self.names

    def fingerprint(self) -> str:
        """Of all bytes."""
        return self._lines.digest
