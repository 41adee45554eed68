"""From what a user names to a collection."""

from collections.abc import Callable
from pathlib import Path

from prolip.config import ConfigError
from prolip.data.files.below import files_below
from prolip.data.files.foreign import foreign_note
from prolip.data.files.frames import FRAMES, Frame
from prolip.data.files.lines import TextFrame
from prolip.data.files.names import printable
from prolip.data.files.patterns import is_pattern, matches
from prolip.data.files.tar_members import PACKED, UNPACK
from prolip.data.records import DataError
from prolip.retrieval.collections.folder import ImageFolder
from prolip.retrieval.collections.item import Collection
from prolip.retrieval.collections.table import Table
from prolip.retrieval.collections.tars import Tars
from prolip.retrieval.embeddings import Kind

KNOWN = (
    "a folder of images, .txt (a text a line), .csv, .tsv, .jsonl, .parquet, .tar, a folder of "
    "tars, 'shards/*.tar', 'shard-{00000..00099}.tar', or tfds:NAME[/CONFIG][:SPLIT]"
)
READERS: dict[str, Callable[[Path], Frame]] = {".txt": TextFrame, **FRAMES}


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
      column: of a table; a feature of a TFDS data set; in tars an extension, or "json/FIELD".
        "" finds it.
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
    if not path.exists() and is_pattern(data):
        try:
            paths = [Path(name) for name in matches(str(path))]
        except DataError as error:
            raise DataError(f"{error}; known: {KNOWN}") from error
    else:
        paths = [path]
    ends = {path.suffix.lower() for path in paths}
    if ends == {".tar"}:
        _refuse(data, id_column=id_column)
        return Tars(paths, kind, column)
    if not path.exists():
        raise DataError(f"{printable(path)} is not there; known: {KNOWN}")
    if ends <= READERS.keys() and path.is_file():
        end = ends.pop()
        if end == ".txt" and kind is None:
            kind = "text"
        return Table(path, READERS[end](path), kind, column, id_column)
    hint = f"{UNPACK}; " if path.name.lower().endswith(PACKED) else ""
    raise DataError(f"{printable(path)} can't be embedded; {hint}known: {KNOWN}")


def _folder(path: Path, kind: Kind | None, column: str, id_column: str) -> Collection:
    below = files_below(path, (".tar",))
    if not below.paths:
        if kind == "text":
            raise ConfigError(f"{printable(path)}: of a folder, only images can be embedded")
        _refuse(str(path), column=column, id_column=id_column)
        return ImageFolder(path)
    try:
        ImageFolder(path)
    except DataError:
        _refuse(str(path), id_column=id_column)
        collection = Tars(sorted(below.paths), kind, column)
        if below.foreign:
            collection.notes.append(foreign_note(below.foreign, printable(path)))
        return collection
    raise DataError(
        f"{printable(path)} has images and tars; name the tars as '{printable(path)}/*.tar', or a "
        "folder of images alone"
    )


def _refuse(data: str, **options: str) -> None:
    for name, value in options.items():
        if value:
            raise ConfigError(f"{data}: --{name.replace('_', '-')} means nothing here")
