"""The orientation that a file asks to be shown in, also where other tags of it are broken."""

import contextlib
import re
import struct

from PIL import Image

ORIENTATION = 0x0112  # The tag of EXIF.
HEADER = b"Exif\0\0"
BYTES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # Formats of EXIF's kinds of integers.
XMP = re.compile(rb'tiff:Orientation(?:="|>)\s*([1-8])')
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def transpose(image: Image.Image) -> Image.Transpose | None:
    """The operation that turns a loaded image upright; None where it is upright.

    Pillow's own `exif_transpose` reads and writes all tags, and fails where one of them is broken.
    """
    if image.format == "TIFF":  # Pillow turns it when it loads the pixels.
        return None
    return TRANSPOSE.get(_from_exif(_exif(image)) or _from_xmp(image))


def _exif(image: Image.Image) -> bytes:
    exif = image.info.get("exif", b"")
    hexadecimal = image.info.get("Raw profile type exif")  # As ImageMagick writes it into PNG.
    if not exif and isinstance(hexadecimal, str):
        with contextlib.suppress(ValueError):
            exif = bytes.fromhex("".join(hexadecimal.split("\n")[3:]))
    if not isinstance(exif, bytes):
        return b""
    while exif.startswith(HEADER):
        exif = exif[len(HEADER) :]
    return exif


def _from_exif(exif: bytes) -> int:
    """The value of the tag in the first directory, of several values the first; 0 without one."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for start in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, start)
            if tag == ORIENTATION and kind in BYTES and values:
                number = struct.Struct(order + BYTES[kind])
                place = start + 8
                if number.size * values > 4:
                    (place,) = struct.unpack_from(f"{order}I", exif, place)
                return int(number.unpack_from(exif, place)[0])
    except struct.error:  # Cut short.
        pass
    return 0


def _from_xmp(image: Image.Image) -> int:
    for name in ("XML:com.adobe.xmp", "xmp"):
        value = image.info.get(name, b"")
        if isinstance(value, tuple):
            value = value[0] if value else b""
        packet = value.encode("utf8", "replace") if isinstance(value, str) else value
        if isinstance(packet, bytes) and (match := XMP.search(packet)):
            return int(match[1])
    return 0
