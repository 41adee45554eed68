"""Bytes of files that may be anything: links, pipes, of any size, or gone."""

import contextlib
import errno
import hashlib
import os
import resource
import stat
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prolip.data.files.names import printable, visible
from prolip.data.records import BadRecord, DataError

OTHER_FILES = 512  # Of the process, which don't stand in the way.
PAUSES = (0.1, 0.4, 1.6)  # Seconds before a read that failed is tried again.
# What an open says of a path or of rights to it, and not of the disk.
OF_THE_FILE = {
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENXIO, errno.ENODEV, errno.EINVAL),
}
MAX_BYTES = 1 << 29  # Of one item: no image of `MAX_PIXELS` needs more.


def read_file(path: str | Path) -> bytes:
    """All of a regular file.

    Raises:
      BadRecord: it is something else, missing, or too large for an item.
      DataError: the disk or the share fails, and goes on failing.
    """
    try:
        # Opening a named pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise BadRecord("file is missing") from error
    except ValueError as error:
        raise BadRecord("file can't be opened") from error
    except OSError as error:
        if error.errno in OF_THE_FILE:
            raise BadRecord("file can't be opened") from error
        raise _lasting(path, error) from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise BadRecord("not a regular file")
        return _read_at(path, descriptor, 0, about.st_size)
    finally:
        os.close(descriptor)


class OpenFile:
    """A file that threads read at any place; closed with the object."""

    def __init__(self, path: str | Path):
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of a place.

        Raises:
          BadRecord: the file has become shorter, or the piece is too large.
          DataError: the disk or the share fails, and goes on failing.
        """
        return _read_at(self._path, self._descriptor, offset, size)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def states(paths: Iterable[str | Path]) -> str:
    """Changes with the size or the time of any of these files, or where one comes or goes."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            about = os.stat(path)
            digest.update(f"{about.st_size} {about.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"-\n")
    return digest.hexdigest()


def keep_open(wanted: int, at_least: int = 64) -> int:
    """How many files may stay open, `wanted` at most.

    The soft limit of the process rises as far as the hard one allows: it is low for programs of old
    that number their files by bits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(at_least, min(wanted, wanted if soft < 0 else soft - OTHER_FILES))


def path_inside(folder: str, name: str) -> str:
    """The file of a name that must lead to a place inside a folder, given by its real path.

    Raises:
      BadRecord: it leads elsewhere: by an absolute path, by `..`, or by a link.
    """
    if "://" in name:
        raise BadRecord("a web address, not a file")
    try:
        path = os.path.realpath(os.path.join(folder, name))
    except (OSError, ValueError) as error:
        raise BadRecord("not a path") from error
    if os.path.commonpath([folder, path]) != folder:
        raise BadRecord("path leaves the folder of the table")
    return path


def outside_note(folder: str, names: Iterable[Any]) -> list[str]:
    """A sentence on what to do about paths of images that lead out of the folder of their table.

    Args:
      folder: The real path of the folder.
      names: The first values of the column; only texts are looked at.
    """
    outside = []
    for name in names:
        try:
            if isinstance(name, str) and name.strip():
                path_inside(folder, name.strip())
        except BadRecord:
            if os.path.isabs(name.strip()):
                outside.append(name.strip())
    if not outside:
        return []
    above = os.path.commonpath([folder, *map(os.path.dirname, outside)])
    where = visible(above) if above != os.path.sep else "a folder above all of them"
    return [
        f"images outside the folder of the table are not read, such as {visible(outside[0])}: move "
        f"the table to {where}, or copy or mount the images below its folder; paths may then be "
        "absolute or relative to it"
    ]


def _read_at(path: str | Path, descriptor: int, offset: int, size: int) -> bytes:
    if size > MAX_BYTES:
        raise BadRecord(f"more than {MAX_BYTES >> 20} MiB")
    pieces, missing = [], size
    while missing:
        piece = _pread(path, descriptor, missing, offset + size - missing)
        if not piece:
            raise BadRecord("file ends too early")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _pread(path: str | Path, descriptor: int, size: int, offset: int) -> bytes:
    # A share or a mounted bucket that fails for a moment must not change which records are read.
    for pause in PAUSES:
        try:
            return os.pread(descriptor, size, offset)
        except OSError:
            time.sleep(pause)
    try:
        return os.pread(descriptor, size, offset)
    except OSError as error:
        raise _lasting(path, error) from error


def _lasting(path: str | Path, error: OSError) -> DataError:
    """No property of a record: passed over, all that follow would be tried one after the other."""
    return DataError(
        f"{printable(path)} can't be read: {error.strerror or error}. It was tried for some "
        "seconds; start again when that is mended"
    )
