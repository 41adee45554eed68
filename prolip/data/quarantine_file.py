"""`quarantine.jsonl`: each bad record once, over all starts of a run."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from prolip.data.quarantine import line
from prolip.data.records import Bad
from prolip.workdir import write_whole


class QuarantineFile:
    """Appends bad records to a JSON Lines file, without reading again what it has.

    What earlier starts of the run wrote is read once, when there is something to append: a line
    that a kill cut short and repeated lines are removed then.

    Args:
      path: Of the file; made when the first record is appended.
    """

    def __init__(self, path: Path):
        self._path = path
        self._earlier: np.ndarray | None = None  # UInt64, ascending: records of earlier starts.
        self._unsynced = False

    def append(self, records: Iterable[Bad]) -> None:
        """Adds records that this start has not appended yet, unless an earlier one did."""
        if self._earlier is None:
            self._earlier = _mended(self._path)
        new = [line(bad) for bad in records if not _within(_identity(bad), self._earlier)]
        if new:
            with self._path.open("ab") as file:
                file.write("".join(json.dumps(row) + "\n" for row in new).encode())
            self._unsynced = True

    def flush(self) -> None:
        """Makes sure that what was appended survives a loss of power."""
        if self._unsynced:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
            self._unsynced = False


def _mended(path: Path) -> np.ndarray:
    """UInt64: identities of the records in a file, ascending; what is not a whole line goes."""
    if not path.exists():
        return np.zeros(0, np.uint64)
    known: set[int] = set()
    kept: list[bytes] = []
    whole = True
    for text in path.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(text)
            identity = _identity(Bad(row["record"], row["key"], row["reason"]))
        except (ValueError, KeyError, TypeError):
            whole = False
            continue
        whole &= text.endswith(b"\n") and identity not in known
        if identity not in known:
            known.add(identity)
            kept.append(text.rstrip(b"\n") + b"\n")
    if not whole:
        write_whole(path, b"".join(kept))
    return np.sort(np.fromiter(known, np.uint64, len(known)))


def _identity(bad: Bad) -> int:
    text = json.dumps([bad.number, bad.key])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _within(identity: int, ascending: np.ndarray) -> bool:
    row = int(np.searchsorted(ascending, np.uint64(identity)))
    return row < len(ascending) and int(ascending[row]) == identity
