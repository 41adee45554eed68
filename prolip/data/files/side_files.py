"""Where what is made once of a file is kept: beside it, or in a folder of the user's own."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from prolip.data.records import DataError
from prolip.workdir import write_whole


def places(path: str, suffix: str, directory: str) -> Iterator[Path]:
    """Where the side file of `path` may be, the best place first.

    Args:
      path: Of the file.
      suffix: Of the side file.
      directory: From the configuration; "" is beside the file, or the user's cache where that
        can't be written.
    """
    if directory:
        yield _inside(Path(directory).expanduser(), path, suffix)
    yield Path(path + suffix)
    if not directory:
        yield _inside(cache_directory(), path, suffix)


def write_side_file(path: str, suffix: str, directory: str, content: bytes) -> Path:
    """Writes a side file as a whole, at the first place that can be written.

    Raises:
      DataError: there is none.
    """
    error: OSError | None = None
    options = list(places(path, suffix, directory))
    for place in options[:1] if directory else options:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, content)
            return place
        except OSError as refused:
            error = refused
    where = " and ".join(str(place.parent) for place in (options[:1] if directory else options))
    raise DataError(f"{where} can't be written ({error}); set data.index_dir to a folder that can")


def cache_directory() -> Path:
    """Of the user, where nothing else can be written."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "prolip" / "index"


def _inside(directory: Path, path: str, suffix: str) -> Path:
    path = os.path.abspath(path)
    # Files of the same name in different folders must not meet.
    folder = hashlib.sha256(os.fsencode(os.path.dirname(path))).hexdigest()[:16]
    return directory / folder / (os.path.basename(path) + suffix)
