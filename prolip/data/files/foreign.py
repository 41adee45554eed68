"""Files that operating systems, file managers and tools leave beside the data."""

import re
from collections.abc import Callable, Container

FILES = {".ds_store", "thumbs.db", "desktop.ini", "icon\r"}
FOLDERS = {
    *("__macosx", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd", "@eadir"),
    *(".ipynb_checkpoints", "$recycle.bin", "system volume information"),
    *("#recycle", "__pycache__", "lost+found"),
}
METADATA = re.compile(r"__.+__")  # Of a whole tar, as `webdataset` has it.
# macOS keeps the attributes of `x.jpg` in `._x.jpg` on other file systems.
FORK = "._"
FORK_SIGNATURE = b"\0\5\x16\7"


def is_foreign(path: str) -> bool:
    """Returns whether a file is no part of the data by its name or that of a folder above it."""
    *folders, name = path.lower().split("/")
    return name in FILES or not FOLDERS.isdisjoint(folders)


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder is one that systems and tools keep, such as `.git`."""
    return name.startswith(".") or name.lower() in FILES | FOLDERS


def is_fork(path: str, paths: Container[str], read: Callable[[], bytes]) -> bool:
    """Returns whether a file is a resource fork: by the file beside it, or by its first bytes.

    Args:
      path: Of the file.
      paths: Of all files; `x.jpg` makes `._x.jpg` a fork.
      read: Gives the first bytes.
    """
    folder, slash, name = path.rpartition("/")
    if not name.startswith(FORK):
        return False
    return folder + slash + name[len(FORK) :] in paths or read().startswith(FORK_SIGNATURE)


def is_metadata(key: str) -> bool:
    """Returns whether a sample's key, or a folder in it, is like `__info__`."""
    return any(METADATA.fullmatch(part) for part in key.split("/"))


def foreign_note(count: int, where: str) -> str:
    """A sentence on what was left out."""
    files = "file of another program is" if count == 1 else "files of other programs are"
    return f"{count:,} {files} left out of {where} (._*, __MACOSX, .DS_Store, __NAME__ ...)"
