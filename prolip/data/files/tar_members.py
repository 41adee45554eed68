"""The members of a tar by their headers; nothing is unpacked, and what is odd about it is named."""

import os
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from prolip.data.files.names import is_utf8, printable

BLOCK = tarfile.BLOCKSIZE
CUT_SHORT = "tar is cut short"


class Member(NamedTuple):
    """A member of a tar, or something that is wrong with the tar at this place."""

    name: str  # "" is the tar itself.
    offset: int
    size: int
    reason: str = ""  # Why it can't be read; "" where nothing is wrong.


def members(path: Path) -> Iterator[Member]:
    """All members in their order, folders left out."""
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:", encoding="utf8", errors="surrogateescape") as tar:
            yield from _members(tar, path, size)
    except OSError:
        yield Member("", 0, 0, "tar can't be read")
    except Exception as error:  # Hostile headers reach any of Python's own errors.
        short = not size or any(words in str(error) for words in ("end of data", "truncated"))
        yield Member("", 0, 0, CUT_SHORT if short else "damaged tar")


def samples(path: Path) -> tuple[dict[str, dict[str, Member]], list[Member]]:
    """Members by key and extension, in the order of their first ones; and what is wrong.

    Of a damaged tar, those before the damage.
    """
    found: dict[str, dict[str, Member]] = {}
    wrong = []
    for member in members(path):
        key, extension = sample_of(member.name)
        sample = found.setdefault(key, {}) if not member.reason else {}
        if member.reason or extension in sample:
            reason = member.reason or "name is twice in the tar"
            wrong.append(member._replace(reason=reason))
        else:
            sample[extension] = member
    return found, wrong


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


def _members(tar: tarfile.TarFile, path: Path, size: int) -> Iterator[Member]:
    last = -1
    while (info := tar.next()) is not None:
        # Kept for a search by name, which is not needed.
        tar.members = []  # type: ignore[attr-defined]
        if info.offset <= last:  # A negative size leads in circles.
            raise tarfile.ReadError("damaged")
        last = info.offset
        if not info.isdir():
            reason = _reason(info, size)
            bytes_ = 0 if reason else info.size
            yield Member(printable(info.name), info.offset_data, bytes_, reason)
    # `next` also takes a damaged header for the end, and a tar that was cut between two members.
    with path.open("rb") as file:
        file.seek(tar.offset)
        rest = file.read(BLOCK)
    if rest.count(0) < BLOCK:
        raise tarfile.ReadError("damaged" if len(rest) == BLOCK else "unexpected end of data")


def _reason(info: tarfile.TarInfo, size: int) -> str:
    if not info.isreg() or info.issparse():
        return "not a regular file"
    if not is_utf8(info.name):
        return "name of the member is not UTF-8"
    if posixpath.isabs(info.name) or ".." in info.name.split("/") or "\0" in info.name:
        return "name leaves the tar"
    return CUT_SHORT if info.size < 0 or info.offset_data + info.size > size else ""
