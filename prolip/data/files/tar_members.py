"""The members of a tar by their headers; nothing is unpacked, and what is odd about it is named."""

import errno
import io
import os
import posixpath
import tarfile
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from prolip.data.files.foreign import is_foreign, is_fork, is_metadata
from prolip.data.files.names import is_image_name, is_utf8, printable

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 24  # Bytes searched for data at a time.
LONGEST_NAME = 1 << 24  # Bytes of a header's names and attributes, which `tarfile` reads whole.
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
UNPACK = "compressed tars can't be read at random places, unpack it to .tar"
CUT_SHORT = "tar is cut short"
DAMAGED = "damaged tar"
# First bytes of what is no tar and has the name of one.
SIGNATURES = {
    b"\x1f\x8b": "compressed with gzip, not a plain tar",
    b"BZh": "compressed with bzip2, not a plain tar",
    b"\xfd7zXZ\0": "compressed with xz, not a plain tar",
    b"\x28\xb5\x2f\xfd": "compressed with zstd, not a plain tar",
    b"\x04\x22\x4d\x18": "compressed with lz4, not a plain tar",
    b"PK\x03\x04": "a zip file, not a tar",
    b"7z\xbc\xaf\x27\x1c": "a 7z file, not a tar",
    b"version https://git-lfs": "a Git LFS pointer, not the tar itself",
    b"<": "an HTML or XML page, not a tar",
    b"{": "a JSON document, not a tar",
}
BLANKS = b"\xef\xbb\xbf \t\r\n"  # A byte order mark and white space, which pages may begin with.


class Member(NamedTuple):
    """A member of a tar, or something that is wrong with the tar at this place."""

    name: str  # "" is the tar itself; a damaged rest of it is named by its bytes.
    offset: int
    size: int
    reason: str = ""  # Why it can't be read; "" where nothing is wrong.


class Samples(NamedTuple):
    """The content of a tar."""

    # Key -> extension -> member, in the order of their first members.
    members: dict[str, dict[str, Member]]
    problems: list[Member]
    foreign: int  # Members that are no part of the data, see `foreign`.


def members(path: Path) -> Iterator[Member]:
    """All members in their order, folders left out; also those behind an end mark.

    What can't be read is a member of its own, which has the number of bytes in its name.
    """
    try:
        with _Headers(io.FileIO(path)) as file:
            yield from _members(file, path)
    except OSError:
        yield Member("", 0, 0, "tar can't be read")


def samples(path: Path) -> Samples:
    """The samples of a tar and what is wrong with it; of a damaged tar, those before the damage."""
    found: dict[str, dict[str, Member]] = {}
    problems, foreign = [], 0
    listed = list(members(path))
    names = {member.name for member in listed if not member.reason}
    for member in listed:
        if not member.reason and _no_data(member, names, path):
            foreign += 1
            continue
        key, extension = sample_of(member.name)
        sample = found.setdefault(key, {}) if not member.reason else {}
        if member.reason or extension in sample:
            reason = member.reason or "name is twice in the tar"
            problems.append(member._replace(reason=reason))
        else:
            sample[extension] = member
    for key in [key for key in found if is_metadata(key)]:
        if not any(is_image_name(f"x.{extension}") for extension in found[key]):
            foreign += len(found.pop(key))
    return Samples(found, problems, foreign)


def sample_of(name: str) -> tuple[str, str]:
    """Key of a member's sample, and its extension in lower case.

    A sample is the files whose names agree up to the first dot after the last slash.
    """
    folder, file = posixpath.split(name)
    stem, _, extension = file[1:].partition(".")  # A dot in front is part of the key.
    return posixpath.join(folder, file[:1] + stem), extension.lower()


def names_of_tars(paths: Sequence[str]) -> list[str]:
    """Paths without what they have in common and without ".tar"."""
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [printable(os.path.relpath(path, common)).removesuffix(".tar") for path in paths]


class _Headers(io.BufferedReader):
    """A tar of which only headers are read: one that claims gigabytes of names is refused."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LONGEST_NAME:
            raise tarfile.ReadError("damaged")
        return super().read(size)


def _members(file: _Headers, path: Path) -> Iterator[Member]:
    size = os.fstat(file.fileno()).st_size
    tar: tarfile.TarFile | None = None
    last, joined = -1, False
    try:
        tar = tarfile.TarFile(fileobj=file, encoding="utf8", errors="surrogateescape")
        while True:
            while (info := tar.next()) is not None:
                # Kept for a search by name, which is not needed.
                tar.members = []  # type: ignore[attr-defined]
                if info.offset <= last:  # A negative size leads in circles.
                    raise tarfile.ReadError("damaged")
                last, joined = info.offset, False
                if not info.isdir():
                    reason = _reason(info, size)
                    bytes_ = 0 if reason else info.size
                    yield Member(printable(info.name), info.offset_data, bytes_, reason)
            # `next` takes for the end: a block of zeros, which more members can follow where tars
            # were joined, a damaged header, and a tar that was cut between two members.
            begin = _first_data(file.fileno(), tar.offset, size)
            if size - tar.offset < BLOCK and not joined:
                raise tarfile.ReadError("unexpected end of data")
            if begin is None:
                return
            if begin < tar.offset + BLOCK:
                raise tarfile.ReadError("damaged")
            tar.offset, joined = begin, True
    except OSError:
        raise
    except Exception as error:  # Hostile headers reach any of Python's own errors.
        if last < 0:
            named = _signature(file)
            if named:
                yield Member("", 0, 0, named)
                return
        if not size or any(words in str(error) for words in ("end of data", "truncated")):
            yield Member("", 0, 0, CUT_SHORT)
            return
        offset = 0 if tar is None else min(tar.offset, size)
        unread = f"rest of {size - offset:,} bytes, from byte {offset:,} on"
        yield Member(unread if offset else "", offset, 0, DAMAGED)


def _signature(file: _Headers) -> str:
    """The kind of file that it is instead of a tar; "" where its first bytes don't tell."""
    head = os.pread(file.fileno(), 64, 0).lstrip(BLANKS)
    return next((kind for first, kind in SIGNATURES.items() if head.startswith(first)), "")


def _no_data(member: Member, names: Container[str], path: Path) -> bool:
    def first_bytes() -> bytes:
        with path.open("rb") as file:
            file.seek(member.offset)
            return file.read(min(member.size, BLOCK))

    return is_foreign(member.name) or is_fork(member.name, names, first_bytes)


def _first_data(descriptor: int, begin: int, end: int) -> int | None:
    """Offset of the first byte from `begin` on that is not zero; None if there is none."""
    while begin < end:
        if hasattr(os, "SEEK_DATA"):  # Holes of a sparse file take no time.
            try:
                begin = os.lseek(descriptor, begin, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return None
        chunk = os.pread(descriptor, min(CHUNK, end - begin), begin)
        if not chunk:
            return None
        nonzero = np.frombuffer(chunk, np.uint8) != 0
        first = int(nonzero.argmax())
        if nonzero[first]:
            return begin + first
        begin += len(chunk)
    return None


def _reason(info: tarfile.TarInfo, size: int) -> str:
    if not info.isreg() or info.issparse():
        return "not a regular file"
    if not is_utf8(info.name):
        return "name of the member is not UTF-8"
    if posixpath.isabs(info.name) or ".." in info.name.split("/") or "\0" in info.name:
        return "name leaves the tar"
    return CUT_SHORT if info.size < 0 or info.offset_data + info.size > size else ""
