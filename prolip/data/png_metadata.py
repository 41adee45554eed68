"""PNG files without their texts and colour profiles, whose packed size Pillow limits."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DROPPED = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
# What says how the picture is turned; kept as long as it is short.
KEPT = (b"XML:com.adobe.xmp", b"Raw profile type exif")
MOST = 1 << 20  # Bytes of a kept text, unpacked.


def without_texts(encoded: bytes) -> bytes:
    """The file without its metadata, of which nothing is unpacked but what is kept.

    Pixels and what they mean (palette, transparency, EXIF) stay as they are. Image generators keep
    prompts and workflows of any size in texts, and cameras large colour profiles.
    """
    parts = [SIGNATURE]
    for kind, whole, body in _chunks(encoded):
        if kind not in DROPPED or _says_orientation(kind, body):
            parts.append(whole)
    return b"".join(parts)


def is_16_bit(encoded: bytes) -> bool:
    """Returns True if the header tells of 16 bits a sample."""
    return encoded.startswith(SIGNATURE) and encoded[24:25] == b"\x10"


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, all bytes, and content of each chunk."""
    view, start = memoryview(encoded), len(SIGNATURE)
    while start + 8 <= len(encoded):
        (size,) = struct.unpack_from(">I", encoded, start)
        end = start + 12 + size
        kind = bytes(view[start + 4 : start + 8])
        body = bytes(view[start + 8 : end - 4]) if kind in DROPPED else b""
        yield kind, bytes(view[start:end]), body
        start = end


def _says_orientation(kind: bytes, body: bytes) -> bool:
    keyword, _, rest = body.partition(b"\0")
    if keyword not in KEPT or kind == b"iCCP":
        return False
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] == b"\0"):
        return len(rest) <= MOST
    packed = rest[1:]
    if kind == b"iTXt":  # Two more texts are before the packed one: the language and a keyword.
        packed = b"".join(rest[2:].split(b"\0", 2)[2:])
    try:
        unpacker = zlib.decompressobj()
        unpacker.decompress(packed, MOST)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail
