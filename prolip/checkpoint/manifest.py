"""The manifest of a step: size and SHA-256 of each of its files. It makes the step exist.

Orbax restores most single-bit errors of array data without an error, so nothing is read before
its manifest agrees. The first line of a manifest is the SHA-256 of the bytes after it: a manifest
protects itself too, and that line is the identity of the step's contents.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from prolip.checkpoint.errors import Damage
from prolip.regular_files import parse_object

T = TypeVar("T")

FORMAT = 1
_SMALL = 16 * 2**20  # Bytes; below, threads cost more than they give.


class File(NamedTuple):
    """What a file must be."""

    size: int  # Bytes.
    sha256: str  # Lower-case hexadecimal.


class Manifest(NamedTuple):
    """The files of one step by their path below the step's directory."""

    step: int
    files: dict[str, File]

    def encode(self) -> bytes:
        """The bytes of the manifest file."""
        body = json.dumps(
            {"format": FORMAT, "step": self.step, "files": self.files}, indent=0, sort_keys=True
        ).encode()
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    @property
    def hash(self) -> str:
        """Identity of the step's contents: 64 hexadecimal digits."""
        return self.encode()[:64].decode()


def decode(data: bytes) -> Manifest:
    """The manifest in the bytes of its file.

    Raises:
      ValueError: the bytes are not those of a manifest; the message says why.
    """
    body = data[65:]
    if data[:65] != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise ValueError("its contents changed")
    values = parse_object(body, "it")
    if values.get("format") != FORMAT:
        raise ValueError(f"its format {values.get('format')!r:.40} is not known to this version")
    step, files = values.get("step"), values.get("files")
    if not isinstance(step, int) or not isinstance(files, dict):
        raise ValueError("it has no step or no files")
    return Manifest(step, {name: _file(name, about) for name, about in files.items()})


def _file(name: str, about: object) -> File:
    """Raises ValueError for what `Manifest.encode` does not write."""
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or "\0" in name or "\\" in name:
        raise ValueError(f"it names {ascii(name)[:80]}, which is not a file below the step")
    match about:
        case [int(size), str(sha256)] if size >= 0 and not isinstance(size, bool):
            return File(size, sha256)
    raise ValueError(f"it has no size and SHA-256 for {ascii(name)[:80]}")


def of_directory(step: int, directory: Path) -> Manifest:
    """Reads every file below `directory`.

    Raises:
      OSError: a file can't be read, or is no regular file.
    """
    names = _names(directory)
    odd = [name for name, regular in names.items() if not regular]
    if odd:
        raise OSError(f"{directory / odd[0]} is not a regular file")
    files = _each(lambda name: _hash(directory / name), list(names), directory)
    return Manifest(step, dict(zip(names, files, strict=True)))


def differences(manifest: Manifest, directory: Path, *, contents: bool) -> list[Damage]:
    """Where the files below `directory` differ from the manifest.

    Args:
      manifest: what must be there.
      directory: of the step.
      contents: also reads and hashes every file, not names and sizes alone.
    """
    prefix = directory.name
    if not directory.is_dir():
        return [Damage(prefix, "the directory is missing")]
    there = _names(directory)
    damage = [Damage(f"{prefix}/{n}", "it is missing") for n in manifest.files.keys() - there]
    for name in there.keys() - manifest.files.keys():
        damage.append(Damage(f"{prefix}/{name}", "it does not belong there"))
    both = sorted(there.keys() & manifest.files.keys())

    def check(name: str) -> Damage | None:
        problem = _problem(directory / name, there[name], manifest.files[name], contents)
        return Damage(f"{prefix}/{name}", problem) if problem else None

    found = _each(check, both, directory) if contents else map(check, both)
    return sorted(damage + [d for d in found if d is not None])


def matches(data: bytes, file: File) -> bool:
    """Whether `data` are the contents of `file`."""
    return len(data) == file.size and hashlib.sha256(data).hexdigest() == file.sha256


def _problem(path: Path, regular: bool, want: File, contents: bool) -> str:
    if not regular:
        return "it is not a regular file"
    try:
        size = path.stat().st_size
        if size != want.size:
            return f"it has {size} bytes instead of {want.size}"
        if contents and _hash(path) != want:
            return "its contents changed"
    except FileNotFoundError:
        return "it is missing"
    except OSError as e:
        return f"it can't be read ({e.strerror or e})"
    return ""


def _names(directory: Path) -> dict[str, bool]:
    """Path of every entry below `directory` that is no directory -> whether it is a plain file."""
    names = {}
    for parent, folders, files in os.walk(directory):
        for name in files + [f for f in folders if os.path.islink(os.path.join(parent, f))]:
            path = os.path.join(parent, name)
            try:
                regular = stat.S_ISREG(os.lstat(path).st_mode)
            except FileNotFoundError:
                continue
            names[os.path.relpath(path, directory).replace(os.sep, "/")] = regular
    return dict(sorted(names.items()))


def _hash(path: Path) -> File:
    with open(path, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
        return File(f.tell(), digest)


def _each(work: Callable[[str], T], names: list[str], directory: Path) -> list[T]:
    """`work` of every name; in threads where there is much to read."""
    if sum(os.lstat(directory / name).st_size for name in names) < _SMALL:
        return [work(name) for name in names]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, names))
