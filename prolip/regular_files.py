"""Bounded reading of small files in directories that come from anywhere."""

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_JSON = 16 << 20  # Bytes; settings need kilobytes, the index of a large model's weights some.


class UnreadableError(ValueError):
    """A file that can't be used; the message names it and says why."""


def check_regular(path: Path, most: int | None = None) -> int:
    """Returns the size of a regular file, which a link may lead to.

    Pipes would wait for a writer, and devices may never end.

    Args:
      path: of the file.
      most: bytes that it may have.

    Raises:
      UnreadableError: it is missing, of another kind, or larger.
    """
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    _check(path, about, most)
    return about.st_size


def read_bytes(path: Path, most: int) -> bytes:
    """Returns the contents of a regular file of at most `most` bytes.

    Raises:
      UnreadableError: it is missing, of another kind, larger, or can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            _check(path, os.fstat(descriptor), most)
            return file.read(most + 1)[:most]
    except UnreadableError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_object(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
      UnreadableError: the file can't be read, is not JSON, or holds something else.
    """
    return parse_object(read_bytes(path, MAX_JSON), str(path))


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """Returns the object that a JSON text holds.

    Args:
      content: UTF-8.
      name: of the file, for messages.

    Raises:
      UnreadableError: it is not JSON, is nested too deeply, or holds something else.
    """
    try:
        value = json.loads(content.decode("utf8"))
    except RecursionError as error:
        raise UnreadableError(f"{name} is damaged: it is nested too deeply") from error
    except ValueError as error:
        raise UnreadableError(f"{name} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableError(f"{name} is damaged: it is not an object")
    return value


def _check(path: Path, about: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise UnreadableError(f"{path} is not a regular file")
    if most is not None and about.st_size > most:
        raise UnreadableError(
            f"{path} has {about.st_size:,} bytes; files of its kind have at most {most:,}"
        )


def _unreadable(path: Path, error: OSError | ValueError) -> UnreadableError:
    return UnreadableError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}")
