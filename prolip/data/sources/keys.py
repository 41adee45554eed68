"""Lists of keys in files, and which records of a source they name."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prolip.config import ConfigError
from prolip.data.files.names import printable
from prolip.data.records import DataError
from prolip.data.sources.source import Source

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

    A text file has one a line; Parquet has them in its column "key", or its only one; JSONL in the
    field "key", as the lists of bad records do.

    Raises:
      DataError: the file can't be read, or its column is not to be told.
    """
    try:
        if path.suffix.lower() == ".parquet":
            table = pq.read_table(path)
            column = "key" if "key" in table.column_names else table.column_names[0]
            if column != "key" and table.num_columns != 1:
                raise DataError(f"{printable(path)} has several columns and none is 'key'")
            return pc.cast(table.column(column), pa.large_string()).combine_chunks()
        lines = [line.strip() for line in path.read_text(encoding="utf8").splitlines()]
        lines = [line for line in lines if line]
        if path.suffix.lower() == ".jsonl":
            rows = [json.loads(line) for line in lines]
            lines = [row["key"] for row in rows if all(row.get(n, 0) is not None for n in NUMBERS)]
        return pa.array(lines, pa.large_string())
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the keys in {printable(path)} can't be read: {error!r}") from error


def listed(source: Source, block: range, keys: pa.Array, *, parts: bool) -> Iterator[int]:
    """Numbers of the records whose key is among the keys.

    Args:
      source: of the records.
      block: numbers of those that are looked at.
      keys: of `read_keys`.
      parts: whether what is after a key's last slash is enough. Samples of several tars may have
        the same: to leave one out must not leave out another.
    """
    names = [source.key(index) for index in block]
    among = pc.is_in(pa.array(names, pa.large_string()), keys)
    if parts:
        last = pa.array([name.rpartition("/")[2] for name in names], pa.large_string())
        among = pc.or_(among, pc.is_in(last, keys))
    for index, found in zip(block, among.to_pylist(), strict=True):
        if found:
            yield index
