"""All files below a folder; links may not lead out of it."""

import os
from collections.abc import Iterator

from prolip.data.files.names import is_image_name, printable
from prolip.data.records import DataError

LEAVES = "link leaves the folder"


def walk(root: str) -> Iterator[tuple[str, str, int]]:
    """Path below the root, the reason why it can't be used or "", and size of each file.

    Links are followed as long as they lead to a place inside the root. Links to folders inside it
    add nothing.

    Args:
      root: A real path.

    Raises:
      DataError: the root can't be read.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    name = os.path.join(folder, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif (found := _judge(root, entry)) is not None:
                        yield (name, *found)
        except OSError as error:
            if not folder:
                raise DataError(f"{printable(root)} can't be read: {error.strerror}") from error
            yield folder, "folder can't be read", 0


def _judge(root: str, entry: os.DirEntry) -> tuple[str, int] | None:
    """None for what needs no mention: a second way to a folder that is walked anyway."""
    try:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            inside = os.path.commonpath([root, target]) == root
            if os.path.isdir(target):
                return None if inside else (LEAVES, 0)
            if not inside and is_image_name(entry.name):
                return LEAVES, 0
        if not entry.is_file():
            return ("not a regular file", 0) if is_image_name(entry.name) else ("", 0)
        return "", entry.stat().st_size
    except OSError:
        return "file can't be read", 0
