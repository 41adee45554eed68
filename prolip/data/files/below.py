"""Data files below a folder."""

import functools
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from prolip.data.files.foreign import FORK_SIGNATURE, is_foreign, is_fork


class Below(NamedTuple):
    """The files of some kinds below a folder, in no order."""

    paths: list[Path]
    foreign: int  # Files with such names that other programs left there.


def files_below(folder: Path, ends: Collection[str]) -> Below:
    """Returns the files whose extension, in lower case, is one of `ends`."""
    files = [path for path in folder.rglob("*") if path.suffix.lower() in ends]
    names = {str(path) for path in files}

    def is_data(path: Path) -> bool:
        return not is_foreign(path.relative_to(folder).as_posix()) and not is_fork(
            str(path), names, functools.partial(_first_bytes, path)
        )

    data = [path for path in files if is_data(path)]
    return Below(data, len(files) - len(data))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(FORK_SIGNATURE))
    except OSError:  # The file's reader tells of it.
        return b""
