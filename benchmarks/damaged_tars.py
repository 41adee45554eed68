"""Tars as img2dataset writes them, some damaged on purpose, and what is to be said of them."""

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from prolip.data.image import NOT_AN_IMAGE

PICTURES = 64  # Different ones; a comment in each file tells the copies apart.
WORDS = ("red", "old", "small", "wooden", "boat", "dog", "table", "tree", "near", "under", "house")
BAD_EVERY = 23  # Samples, of which one is bad.
DAMAGED_EVERY = 5  # Tars, of which one is damaged as a whole.
CUT_SHORT = "tar is cut short"


class Made(NamedTuple):
    """What was written."""

    good: dict[str, int]  # Key of each usable record to a checksum of its image and text, in order.
    bad: dict[str, str]  # Key of each bad record to the reason.
    damage: list[tuple[str, str]]  # (place, reason) of what is wrong with the tars themselves.
    nbytes: int


class Sample(NamedTuple):
    """Members of a sample; None is not there."""

    jpg: bytes | None
    txt: bytes | None
    reason: str = ""  # Why it can't be used; "" if it can.


def bomb() -> bytes:
    """A PNG of 3.6 billion pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99)))


BAD: tuple[Callable[[bytes, bytes], Sample], ...] = (
    lambda jpg, txt: Sample(jpg[: len(jpg) // 2], txt, "damaged image"),
    lambda jpg, txt: Sample(b"", txt, "empty image"),
    lambda jpg, txt: Sample(b"<html>404</html>", txt, NOT_AN_IMAGE),
    lambda jpg, txt: Sample(bomb(), txt, "image has too many pixels"),
    lambda jpg, txt: Sample(None, txt, "sample has no image"),
    lambda jpg, txt: Sample(jpg, None, "no caption"),
    lambda jpg, txt: Sample(jpg, b" \n", "no caption"),
    lambda jpg, txt: Sample(jpg, b"caf\xe9 " + txt, "text is not UTF-8"),
)


def write(folder: Path, tars: int, pairs: int) -> Made:
    """Writes `00000.tar` and so on; one in five is damaged as a whole, each time in another way.

    Args:
      folder: is made.
      tars: number of them.
      pairs: samples of each, before any damage.
    """
    folder.mkdir(parents=True)
    pictures = list(_pictures())
    made = Made({}, {}, [], 0)
    nbytes = 0
    for tar in range(tars):
        name = f"{tar:05}"
        samples = {f"{tar:05}{n:04}": _sample(tar * pairs + n, pictures) for n in range(pairs)}
        content, begins = _tar(samples)
        kept, wrong = pairs, []
        if tar % DAMAGED_EVERY == DAMAGED_EVERY // 2:
            content, kept, wrong = DAMAGE[tar // DAMAGED_EVERY % len(DAMAGE)](content, begins)
        (folder / f"{name}.tar").write_bytes(content)
        nbytes += len(content)
        made.damage.extend((f"{name}.tar{place}", reason) for place, reason in wrong)
        for key, sample in list(samples.items())[:kept]:
            if sample.reason:
                made.bad[f"{name}/{key}"] = sample.reason
            else:
                made.good[f"{name}/{key}"] = checksum(sample.jpg or b"", sample.txt or b"")
    return made._replace(nbytes=nbytes)


def checksum(image: bytes, text: bytes) -> int:
    """Of a record."""
    return zlib.crc32(text, zlib.crc32(image))


Damaged = tuple[bytes, int, list[tuple[str, str]]]  # Bytes, samples that are left, what is wrong.
Begins = dict[str, int]  # Name of a member to the place of its header.


def _cut_in_a_picture(content: bytes, begins: Begins) -> Damaged:
    name, number = _middle(begins)
    wrong = [(f"/{name}", CUT_SHORT), ("", CUT_SHORT)]
    return content[: begins[name] + tarfile.BLOCKSIZE + 100], number, wrong


def _cut_between_members(content: bytes, begins: Begins) -> Damaged:
    name, number = _middle(begins)
    return content[: begins[name]], number, [("", CUT_SHORT)]


def _header_overwritten(content: bytes, begins: Begins) -> Damaged:
    name, number = _middle(begins)
    at = begins[name]
    rubbish = b"\xa5" * tarfile.BLOCKSIZE
    content = content[:at] + rubbish + content[at + tarfile.BLOCKSIZE :]
    rest = f"/rest of {len(content) - at:,} bytes, from byte {at:,} on"
    return content, number, [(rest, "damaged tar")]


def _empty(content: bytes, begins: Begins) -> Damaged:
    return b"", 0, [("", CUT_SHORT)]


def _path_tricks(content: bytes, begins: Begins) -> Damaged:
    file = io.BytesIO(content)
    first = next(name for name in begins if name.endswith(".txt"))
    wrong = [
        ("../escape.jpg", "name leaves the tar"),
        ("/etc/escape.jpg", "name leaves the tar"),
        ("link.jpg", "not a regular file"),
        ("caf\udce9.jpg", "name of the member is not UTF-8"),
        (first, "name is twice in the tar"),
    ]
    with tarfile.open(fileobj=file, mode="a", errors="surrogateescape") as tar:
        for name, _ in wrong:
            info = tarfile.TarInfo(name)
            if name == "link.jpg":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info, io.BytesIO(b""))
    samples = len({name.partition(".")[0] for name in begins})
    said = [(name.encode("utf8", "backslashreplace").decode(), reason) for name, reason in wrong]
    return file.getvalue(), samples, [(f"/{name}", reason) for name, reason in said]


DAMAGE = (
    _cut_in_a_picture,
    _path_tricks,
    _cut_between_members,
    _header_overwritten,
    _empty,
)


def _middle(begins: Begins) -> tuple[str, int]:
    """The image of a sample in the middle that has one, and how many samples come before it."""
    keys = list(dict.fromkeys(name.partition(".")[0] for name in begins))
    number = next(n for n in range(len(keys) // 2, len(keys)) if f"{keys[n]}.jpg" in begins)
    return f"{keys[number]}.jpg", number


def _tar(samples: dict[str, Sample]) -> tuple[bytes, Begins]:
    file, begins = io.BytesIO(), {}
    with tarfile.open(fileobj=file, mode="w") as tar:
        for key, sample in samples.items():
            about = json.dumps({"key": key, "status": "success"}).encode()
            for extension, content in (("jpg", sample.jpg), ("txt", sample.txt), ("json", about)):
                if content is None:
                    continue
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                begins[info.name] = tar.offset
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue(), begins


def _sample(number: int, pictures: list[bytes]) -> Sample:
    picture = pictures[number % len(pictures)]
    comment = f"{number:012}".encode()
    jpg = picture[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + picture[2:]
    words = [WORDS[number // len(WORDS) ** k % len(WORDS)] for k in range(4)]
    txt = f"{' '.join(words)} {number % 7}".encode()
    if number % BAD_EVERY == BAD_EVERY // 2:
        return BAD[number // BAD_EVERY % len(BAD)](jpg, txt)
    return Sample(jpg, txt)


def _pictures() -> Iterator[bytes]:
    """JPEG files of 64 to 96 pixels."""
    for number in range(PICTURES):
        rng = np.random.default_rng(number)
        shapes = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        buffer = io.BytesIO()
        size = tuple(rng.integers(64, 97, 2).tolist())
        shapes.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()
