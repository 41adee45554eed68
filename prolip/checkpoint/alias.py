"""Paths for Orbax, which takes `*`, `?` and `[` in the name of a directory for a pattern.

A checkpoint below such a directory would be saved in part and could not be read. Each process gives
Orbax a symbolic link instead, from a temporary directory to the directory that holds the steps.
"""

import atexit
import functools
import glob
import shutil
import tempfile
from pathlib import Path


def without_patterns(path: Path) -> Path:
    """Returns `path`, or another name of it that no one can take for a pattern."""
    if glob.escape(str(path)) == str(path):
        return path
    return _link(path.parent) / path.name


@functools.cache
def _link(directory: Path) -> Path:
    folder = tempfile.mkdtemp(prefix="prolip-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder) / "checkpoints"
    link.symlink_to(directory)
    return link
