"""Files and directories that are complete after a power loss, or not there at all."""

import os
import shutil
import uuid
from pathlib import Path

from prolip.checkpoint.errors import CheckpointError
from prolip.workdir import naming


def local_path(directory: str | os.PathLike[str]) -> Path:
    """`directory` as an absolute path.

    Raises:
      CheckpointError: it is a URL; only file systems and mounts have the atomic renames that a
        checkpoint needs.
    """
    text = os.fspath(directory)
    if "://" in text:
        scheme = text.split("://")[0]
        tool = {"gs": "gcsfuse", "s3": "mountpoint-s3 or s3fs"}.get(scheme, "a FUSE client")
        raise CheckpointError(
            f"{text} is a URL, and checkpoints are written to file systems only: mount the bucket "
            f"(with {tool}) and give the path of the mount, or write to a local directory and "
            "copy it afterwards."
        )
    return Path(os.path.abspath(os.path.expanduser(text)))


def make_writable(directory: Path) -> None:
    """Creates `directory` and writes a probe into it.

    Raises:
      CheckpointError: the directory can't be created or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe.{uuid.uuid4().hex}"
        try:
            write_new(probe, b"probe")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as e:
        raise unwritable(directory, e) from e


def unwritable(directory: Path, error: OSError) -> CheckpointError:
    """The sentence for a directory that can't be written."""
    return CheckpointError(
        f"Checkpoints can't be written to {directory} ({error.strerror or error}): choose another "
        "workdir, or make this one writable and leave space on its disk."
    )


def write_new(path: Path, data: bytes) -> None:
    """Writes and syncs a file; its directory is not synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def replace(path: Path, data: bytes) -> None:
    """Puts `data` at `path` in one step: readers see the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_new(temporary, data)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def move(source: Path, target: Path) -> None:
    """Renames and syncs both directories."""
    os.rename(source, target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def sync_directory(directory: Path) -> None:
    """Makes the names in `directory` durable, where the file system can."""
    try:
        fd = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass  # Some mounts can't sync directories and need not.
    finally:
        os.close(fd)


def sync_tree(directory: Path) -> None:
    """Makes every file and every name below `directory` durable."""
    for parent, _, files in os.walk(directory, topdown=False):
        for name in files:
            fd = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        sync_directory(Path(parent))


def remove_tree(path: Path) -> bool:
    """Removes a file or directory that nobody needs; returns whether it is gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return False
    return not os.path.lexists(path)
