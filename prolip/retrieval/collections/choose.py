"""From what a user names to a collection."""

import glob
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from prolip.config import ConfigError
from prolip.data.records import DataError
from prolip.retrieval.collections.delimited import DelimitedFrame
from prolip.retrieval.collections.folder import ImageFolder
from prolip.retrieval.collections.item import Collection, printable
from prolip.retrieval.collections.jsonl import JsonFrame
from prolip.retrieval.collections.lines import TextFrame
from prolip.retrieval.collections.parquet import ParquetFrame
from prolip.retrieval.collections.table import Frame, Table
from prolip.retrieval.collections.tars import Tars
from prolip.retrieval.embeddings import Kind

KNOWN = (
    "a folder of images, .txt (a text a line), .csv, .tsv, .jsonl, .parquet, .tar, a folder of "
    "tars, 'shards/*.tar', 'shard-{00000..00099}.tar', or tfds:NAME[/CONFIG][:SPLIT]"
)
FRAMES: dict[str, Callable[[Path], Frame]] = {
    ".txt": TextFrame,
    ".csv": lambda path: DelimitedFrame(path, ","),
    ".tsv": lambda path: DelimitedFrame(path, "\t"),
    ".jsonl": JsonFrame,
    ".parquet": ParquetFrame,
}
MAX_NAMES = 1_000_000
BRACES = re.compile(r"\{(?P<first>\d+)\.\.(?P<last>\d+)\}|\{(?P<list>[^{}]*,[^{}]*)\}")


def open_collection(
    data: str,
    *,
    kind: Kind | None = None,
    column: str = "",
    id_column: str = "",
    data_dir: str = "",
) -> Collection:
    """Opens what can be embedded.

    Args:
      data: a path, a pattern of tars, or the name of a TFDS data set; see `KNOWN`.
      kind: None infers it, and says so in the notes.
      column: of a table; a feature of a TFDS data set; an extension in tars. "" finds it.
      id_column: of a table, with unique ids; "" numbers the rows.
      data_dir: of prepared TFDS data.

    Raises:
      ConfigError: the options don't fit the data.
      DataError: there is nothing that can be read.
    """
    if data.startswith("tfds:"):
        _refuse(data, id_column=id_column)
        from prolip.retrieval.collections import tfds  # Seconds, for those who need it.

        return (tfds.TfdsTexts if kind == "text" else tfds.TfdsImages)(data, data_dir, column)
    _refuse(data, data_dir=data_dir)
    if not data or "://" in data:
        raise DataError(f"{data!r} can't be embedded; known: {KNOWN}")
    path = Path(data).expanduser()
    if path.is_dir():
        return _folder(path, kind, column, id_column)
    if not path.exists() and re.search(r"[*?\[{]", data):
        paths = [Path(name) for name in _matches(str(path))]
    else:
        paths = [path]
    ends = {path.suffix.lower() for path in paths}
    if ends == {".tar"}:
        _refuse(data, id_column=id_column)
        return Tars(paths, kind, column)
    if not path.exists():
        raise DataError(f"{printable(path)} is not there; known: {KNOWN}")
    if ends <= FRAMES.keys() and path.is_file():
        end = ends.pop()
        if end == ".txt" and kind is None:
            kind = "text"
        return Table(path, FRAMES[end](path), kind, column, id_column)
    packed = path.name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))
    hint = "packed tars can't be read at random places, unpack it to .tar; " if packed else ""
    raise DataError(f"{printable(path)} can't be embedded; {hint}known: {KNOWN}")


def _folder(path: Path, kind: Kind | None, column: str, id_column: str) -> Collection:
    tars = sorted(path.rglob("*.tar"))
    if not tars:
        if kind == "text":
            raise ConfigError(f"{printable(path)}: of a folder, only images can be embedded")
        _refuse(str(path), column=column, id_column=id_column)
        return ImageFolder(path)
    try:
        ImageFolder(path)
    except DataError:
        _refuse(str(path), id_column=id_column)
        return Tars(tars, kind, column)
    raise DataError(
        f"{printable(path)} has images and tars; name the tars as '{printable(path)}/*.tar', or a "
        "folder of images alone"
    )


def _refuse(data: str, **options: str) -> None:
    for name, value in options.items():
        if value:
            raise ConfigError(f"{data}: --{name.replace('_', '-')} means nothing here")


def _matches(pattern: str) -> Sequence[str]:
    """Files of a pattern in order: braces as a shell has them, then `*`, `?` and `[]`."""
    names = []
    for name in _braces(pattern):
        found = sorted(glob.glob(name)) if re.search(r"[*?\[]", name) else [name]
        if not found:
            raise DataError(f"{printable(name)} matches no file; known: {KNOWN}")
        names += found
    return names


def _braces(pattern: str) -> list[str]:
    match = BRACES.search(pattern)
    if match is None:
        return [pattern]
    tails = _braces(pattern[match.end() :])
    if match["list"]:
        parts = match["list"].split(",")
    else:
        first, last, digits = int(match["first"]), int(match["last"]), len(match["first"])
        if not 0 < (last - first + 1) * len(tails) <= MAX_NAMES:
            raise ConfigError(f"{pattern}: {match[0]} stands for no names, or for too many")
        parts = [f"{number:0{digits}}" for number in range(first, last + 1)]
    return [pattern[: match.start()] + part + tail for part in parts for tail in tails]
