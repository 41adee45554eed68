"""Lists of keys in files, and which records of a source they name."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prolip.config import ConfigError
from prolip.data.files.decoding import decoded
from prolip.data.files.names import printable
from prolip.data.files.parquet import ParquetFrame
from prolip.data.records import BadRecord, DataError
from prolip.data.sources.source import Source

KEY, UID = "key", "uid"
UID_DIGITS = 32
UIDS = f"^[0-9a-f]{{{UID_DIGITS}}}$"
NUMBERS = ("number", "record")  # Of a line on a bad record; null where the line is on a file.


def key_file(path: str, option: str) -> Path | None:
    """The file that a key of the configuration names; None if it names none.

    Raises:
      ConfigError: it is missing.
    """
    if not path:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"{option}: {printable(file)} is missing or no file")
    return file


def read_keys(path: Path) -> pa.Array:
    """Keys of a file, large_string[keys].

    A text file has one a line; Parquet has them in its column "key" or "uid", or its only one;
    JSONL in the field "key", as the lists of bad records do; NumPy's `.npy` as texts, numbers, or
    DataComp's uids of two unsigned 64-bit numbers each.

    Raises:
      DataError: the file can't be read, or its column is not to be told.
    """
    try:
        end = path.suffix.lower()
        if end == ".parquet":
            return _of_parquet(path)
        if end == ".npy":
            return _of_numpy(np.load(path, allow_pickle=False))
        text = decoded(path.read_bytes())
        # Not at the separators that `str.splitlines` knows too: names may have them.
        lines = [line for line in map(str.strip, text.replace("\r", "\n").split("\n")) if line]
        if end == ".jsonl":
            rows = [json.loads(line) for line in lines]
            if not all(KEY in row for row in rows):
                raise ValueError(f"a line has no field {KEY!r}")
            lines = [row[KEY] for row in rows if all(row.get(n, 0) is not None for n in NUMBERS)]
        return pa.array(lines, pa.large_string())
    except DataError:
        raise
    except (
        *(pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError),
        *(EOFError, MemoryError),
    ) as error:
        raise DataError(f"the keys in {printable(path)} can't be read: {error}") from error


def _of_parquet(path: Path) -> pa.Array:
    frame = ParquetFrame(path)
    column = next((name for name in (KEY, UID) if name in frame.names), frame.names[0])
    if column not in (KEY, UID) and len(frame.names) != 1:
        raise DataError(f"{printable(path)} has several columns, and none is {KEY!r} or {UID!r}")
    cells = frame.load([column])[0]
    return pc.cast(cells.whole(), pa.large_string()).combine_chunks()


def _of_numpy(array: np.ndarray) -> pa.Array:
    """Raises ValueError unless it holds texts, whole numbers, or pairs of 64 bits."""
    kind = array.dtype
    if kind.names is not None and len(kind.names) == 2:
        halves = [array[name].reshape(-1) for name in kind.names]
    elif kind == np.uint64 and array.ndim == 2 and array.shape[1] == 2:
        halves = [array[:, 0], array[:, 1]]
    elif kind.kind in "US" and array.ndim == 1:
        texts = np.char.decode(array, "utf8") if kind.kind == "S" else array
        return pa.array(texts.tolist(), pa.large_string())
    elif kind.kind in "iu" and array.ndim == 1:
        return pc.cast(pa.array(array), pa.large_string())
    else:
        raise ValueError(f"an array of {kind} and shape {list(array.shape)} holds no keys")
    if any(half.dtype.kind != "u" or half.dtype.itemsize != 8 for half in halves):
        raise ValueError(f"pairs of {kind} are not uids of two unsigned 64-bit numbers")
    digits = np.stack(halves, 1).astype(">u8").tobytes().hex().encode()
    ends = np.arange(len(halves[0]) + 1, dtype=np.int64) * UID_DIGITS
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(digits)]
    return pa.Array.from_buffers(pa.large_string(), len(halves[0]), buffers)


def has_uids(keys: pa.Array) -> bool:
    """Returns whether a key is of 32 hexadecimal digits, as DataComp names its samples.

    The others may be the header of a column, or keys of another kind.
    """
    return bool(pc.any(pc.match_substring_regex(keys, UIDS)).as_py())


def listed(
    source: Source, block: range, keys: pa.Array, *, parts: bool, uids: bool = False
) -> Iterator[int]:
    """Numbers of the records whose key is among the keys.

    Args:
      source: of the records.
      block: numbers of those that are looked at.
      keys: of `read_keys`.
      parts: whether what is after a key's last slash is enough. Samples of several tars may have
        the same: to leave one out must not leave out another.
      uids: whether a record's field `uid` may be among them too.
    """
    names = [source.key(index) for index in block]
    among = pc.is_in(pa.array(names, pa.large_string()), keys)
    if parts:
        last = pa.array([name.rpartition("/")[2] for name in names], pa.large_string())
        among = pc.or_(among, pc.is_in(last, keys))
    if uids:
        named = pa.array([_uid(source, index) for index in block], pa.large_string())
        among = pc.or_(among, pc.is_in(named, keys))
        if not parts:  # What is to be left out could hide in a record that can't be read.
            among = pc.or_(among, pc.is_null(named))
    for index, found in zip(block, among.to_pylist(), strict=True):
        if found:
            yield index


def _uid(source: Source, index: int) -> str | None:
    """The field of a record, "" where it has none; None where the record can't be read."""
    try:
        return str(source.about(index, [UID]).get(UID, ""))
    except BadRecord:
        return None
