"""The samples of a tar and where their members lie, in a side file that is made once.

A line of JSON, then flat arrays of which a process reads what it needs: a sample costs about 70
bytes of the disk and no memory. The line has the size and the time of the tar: another one is
another tar, whose index is made anew.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from prolip.data.files.child_processes import child_processes
from prolip.data.files.names import printable
from prolip.data.files.reading import OpenFile
from prolip.data.files.side_files import places, write_side_file
from prolip.data.files.tar_members import Member, samples
from prolip.data.records import DataError

SUFFIX = ".index"
FORMAT = 2
# Where the members and the key of a sample begin; those of the next one are where they end.
SAMPLES = np.dtype([("members", "<u4"), ("keys", "<u4")])
MEMBERS = np.dtype([("extension", "<u2"), ("offset", "<u8"), ("size", "<u8")])
MAX_PROBLEMS = 1000  # That are kept by name; a tar of rubbish could have as many as bytes.
LONGEST_HEADER = 1 << 22
CHUNK = 1 << 24  # Bytes read at a time.


class Head(NamedTuple):
    """What is known of a tar without its samples."""

    path: str  # Of the tar.
    place: Path  # Of the side file.
    samples: int
    members: int
    extensions: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]  # (member, reason); "" is the tar itself.
    num_problems: int
    foreign: int  # Members that are no part of the data.
    size: int  # Of the tar.
    modified: int  # Time of the tar, in nanoseconds.
    checksum: int  # Of the arrays: changes with any name, place or size.
    begin: int  # Of the arrays in the side file.
    nbytes: int  # Of the arrays.


class TarIndex:
    """The samples of one tar, by number in the order of their first members.

    Args:
      head: Of the index.
      check: Whether to read the arrays once, for their checksum.

    Raises:
      DataError: the side file is damaged.
    """

    def __init__(self, head: Head, check: bool = True):
        self._file = OpenFile(head.place)
        self._samples, self._members = (
            head.samples,
            head.begin + SAMPLES.itemsize * (head.samples + 1),
        )
        self._begin, self._keys = head.begin, self._members + MEMBERS.itemsize * head.members
        if check and not (self._checksum(head) == head.checksum and self._fits(head)):
            raise DataError(f"{head.place} is damaged; delete it, and it is made anew")

    def __len__(self) -> int:
        return self._samples

    def key(self, sample: int) -> str:
        """Of a sample, within its tar."""
        (_, begin), (_, end) = self._ends(sample)
        return self._file.read(self._keys + begin, end - begin).decode("utf8", "replace")

    def members(self, sample: int) -> list[tuple[int, int, int]]:
        """Number of the extension, offset and size of each member of a sample, in order."""
        (begin, _), (end, _) = self._ends(sample)
        size = MEMBERS.itemsize
        raw = self._file.read(self._members + begin * size, (end - begin) * size)
        return np.frombuffer(raw, MEMBERS).tolist()

    def _checksum(self, head: Head) -> int:
        found, end = 0, head.begin + head.nbytes
        for place in range(head.begin, end, CHUNK):
            found = zlib.crc32(self._file.read(place, min(CHUNK, end - place)), found)
        return found

    def _fits(self, head: Head) -> bool:
        """Returns whether every place is inside the tar: a checksum alone can be crafted."""
        last = np.zeros(1, SAMPLES)
        for rows in self._pieces(self._begin, head.samples + 1, SAMPLES):
            steps = np.concatenate([last, rows])
            if any(np.any(steps[name][1:] < steps[name][:-1]) for name in ("members", "keys")):
                return False
            last = rows[-1:]
        keys = head.begin + head.nbytes - self._keys
        if (int(last["members"][0]), int(last["keys"][0])) != (head.members, keys):
            return False
        return all(
            np.all(rows["extension"] < len(head.extensions))
            and np.all(rows["offset"] <= head.size)
            and np.all(rows["size"] <= head.size - rows["offset"])
            for rows in self._pieces(self._members, head.members, MEMBERS)
        )

    def _pieces(self, begin: int, count: int, kind: np.dtype) -> Iterator[np.ndarray]:
        step = CHUNK // kind.itemsize
        for row in range(0, count, step):
            rows = min(step, count - row)
            raw = self._file.read(begin + row * kind.itemsize, rows * kind.itemsize)
            yield np.frombuffer(raw, kind)

    def _ends(self, sample: int) -> list[tuple[int, int]]:
        size = SAMPLES.itemsize
        return np.frombuffer(
            self._file.read(self._begin + sample * size, 2 * size), SAMPLES
        ).tolist()


def open_head(path: str, directory: str = "") -> Head | None:
    """The head of a tar's index; None if there is none, or it is of another state of the tar.

    Raises:
      DataError: the tar is missing.
    """
    about = _stat(path)
    for place in places(path, SUFFIX, directory):
        try:
            with place.open("rb") as file:
                line = file.readline(LONGEST_HEADER)
                end = os.fstat(file.fileno()).st_size
            found = json.loads(line)
            if found["format"] == FORMAT and found["tar"] == about:
                head = _head(path, place, found, len(line))
                if end == head.begin + head.nbytes and _possible(head):
                    return head
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def make_index(path: str, directory: str = "") -> Head:
    """Reads the headers of a tar and writes its side file as a whole.

    Raises:
      DataError: the tar is missing, or the side file can't be written.
    """
    about = _stat(path)
    found, wrong, foreign = samples(Path(path))
    extensions: dict[str, int] = {}
    for sample in found.values():
        for extension in sample:
            extensions.setdefault(extension, len(extensions))
    if len(extensions) > np.iinfo(np.uint16).max:
        raise DataError(f"{printable(path)} has {len(extensions)} kinds of members")
    arrays = _arrays(found, extensions)
    line = {
        "format": FORMAT,
        "tar": about,
        "samples": len(found),
        "members": sum(map(len, found.values())),
        "extensions": list(extensions),
        "problems": [(member.name, member.reason) for member in wrong[:MAX_PROBLEMS]],
        "num_problems": len(wrong),
        "foreign": foreign,
        "bytes": len(arrays),
        "checksum": zlib.crc32(arrays),
    }
    text = json.dumps(line).encode() + b"\n"
    place = write_side_file(path, SUFFIX, directory, text + arrays)
    return _head(path, place, json.loads(text), len(text))


def make_missing(
    paths: Sequence[str],
    directory: str = "",
    *,
    threads: int = 8,
    processes: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[Head]:
    """Heads of all tars; those that have no index get one, each finished as soon as it is made.

    Args:
      paths: Of the tars.
      directory: Of the side files, see `side_files.places`.
      threads: That look, and make where `processes` is 0.
      processes: That make: headers are read by Python, and threads share one core for that.
      advance: Called after each tar.
    """
    with ThreadPoolExecutor(max(1, threads)) as pool:
        heads: dict[str, Head | None] = {}
        for path, head in zip(
            paths, pool.map(open_head, paths, [directory] * len(paths)), strict=True
        ):
            heads[path] = head
            if head is not None:
                advance()
    missing = [path for path in paths if heads[path] is None]
    if missing:
        with _pool(threads, min(processes, len(missing))) as makers:
            for head in makers.map(make_index, missing, [directory] * len(missing)):
                heads[head.path] = head
                advance()
    return [head for head in (heads[path] for path in paths) if head is not None]


def _pool(threads: int, processes: int) -> Executor:
    if processes > 1:
        return child_processes(processes)
    return ThreadPoolExecutor(max(1, threads))


def _arrays(found: Mapping[str, Mapping[str, Member]], extensions: Mapping[str, int]) -> bytes:
    keys = [key.encode() for key in found]
    ends = np.zeros(len(found) + 1, SAMPLES)
    ends["members"][1:] = np.cumsum([len(sample) for sample in found.values()])
    ends["keys"][1:] = np.cumsum([len(key) for key in keys])
    flat = [
        (extensions[extension], member.offset, member.size)
        for sample in found.values()
        for extension, member in sample.items()
    ]
    return b"".join([ends.tobytes(), np.array(flat, MEMBERS).tobytes(), *keys])


def _head(path: str, place: Path, line: Mapping, begin: int) -> Head:
    return Head(
        path=path,
        place=place,
        samples=int(line["samples"]),
        members=int(line["members"]),
        extensions=tuple(line["extensions"]),
        problems=tuple((name, reason) for name, reason in line["problems"]),
        num_problems=int(line["num_problems"]),
        foreign=int(line["foreign"]),
        size=int(line["tar"][0]),
        modified=int(line["tar"][1]),
        checksum=int(line["checksum"]),
        begin=begin,
        nbytes=int(line["bytes"]),
    )


def _possible(head: Head) -> bool:
    """Returns whether the arrays have room for as many samples and members as the line says."""
    counts = (head.samples, head.members, head.num_problems, head.foreign)
    arrays = SAMPLES.itemsize * (head.samples + 1) + MEMBERS.itemsize * head.members
    texts = (*head.extensions, *(text for problem in head.problems for text in problem))
    return (
        min(counts) >= 0
        and arrays <= head.nbytes
        and len(head.problems) <= MAX_PROBLEMS
        and all(isinstance(text, str) for text in texts)
    )


def _stat(path: str) -> list[int]:
    try:
        about = os.stat(path)
    except OSError as error:
        raise DataError(f"{printable(path)} is missing or can't be read") from error
    return [about.st_size, about.st_mtime_ns]
