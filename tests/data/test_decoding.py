"""What of a file decides the pixels: formats, limits, metadata, orientation."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from toy import png

from prolip.data.image import decode, departure, header_size, inference_image, rgb
from prolip.data.records import BadRecord

LIMIT = 10**6
PICTURE = Image.open(io.BytesIO(png(3, 12, 8)))


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(rows, colour, *extra):
    """A PNG of 16 bits a sample."""
    size = struct.pack(">IIBBBBB", rows.shape[1], len(rows), 16, colour, 0, 0, 0)
    data = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    parts = (*extra, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + b"".join(parts)


def pixels(data):
    return np.asarray(rgb(decode(data, LIMIT)))


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "AVIF"])
def test_formats_that_users_have_are_read(kind):
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}
    data = encoded(PICTURE, kind, **options)
    assert header_size(data, LIMIT) == PICTURE.size
    assert np.abs(pixels(data).astype(int) - np.asarray(PICTURE)).max() <= (kind == "AVIF") * 8
    with pytest.raises(BadRecord, match="too many pixels"):
        decode(data, 95)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "HEIC image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 image"),
        (b"\xff\x0a", "JPEG XL image"),
        (encoded(PICTURE, "PPM"), "not a JPEG, PNG"),
    ],
)
def test_formats_that_are_not_read_are_named(start, reason):
    with pytest.raises(BadRecord, match=reason):
        decode(start + bytes(100), LIMIT)


def test_only_the_given_limit_of_pixels_counts_and_none_is_decoded_above_it():
    size = struct.pack(">IIBBBBB", 20_000, 10_000, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert header_size(data, 500_000_000) == (20_000, 10_000)
    for call in (header_size, decode):
        with pytest.raises(BadRecord, match="too many pixels"):
            call(data, 199_999_999)


LONG = b"a word " * 200_000
XMP = b'<x tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(LONG)),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(LONG)),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(LONG)),
        chunk(b"tEXt", b"workflow\0" + LONG) * 50,
        chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(10**8))),
    ],
    ids=["zTXt", "iTXt", "iCCP", "tEXt", "bomb"],
)
@pytest.mark.parametrize("where", ["before", "after"])
def test_long_metadata_of_a_png_costs_no_pixels(extra, where):
    data = png(3)
    place = 33 if where == "before" else len(data) - 12
    np.testing.assert_array_equal(pixels(data[:place] + extra + data[place:]), pixels(data))
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    turned = pixels(data[:33] + xmp + data[33:place] + extra + data[place:])
    np.testing.assert_array_equal(turned, np.rot90(pixels(data), -1))


def test_a_colour_key_of_16_bits_is_transparent():
    rgb_rows = np.repeat([[[65535, 0, 65535]], [[1000, 50000, 3]]], 2, 1)
    data = png_of(rgb_rows, 2, chunk(b"tRNS", struct.pack(">HHH", 65535, 0, 65535)))
    assert pixels(data)[:, 0].tolist() == [[255] * 3, [3, 195, 0]]
    grey = png_of(np.array([[777, 777], [40_000, 776]]), 0, chunk(b"tRNS", struct.pack(">H", 777)))
    assert pixels(grey)[..., 0].tolist() == [[255, 255], [156, 3]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_32_bits_are_refused_where_their_range_would_be_guessed(mode):
    image = decode(encoded(Image.new(mode, (5, 5), 7), "TIFF"), LIMIT)
    with pytest.raises(BadRecord, match="32 bits"):
        rgb(image)
    assert inference_image(image, 4, "released").shape == (4, 4, 3)  # As the released code.


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_images_are_turned_as_pillow_turns_them(kind):
    for value in range(10):
        exif = Image.Exif()
        exif[0x0112] = value
        data = encoded(PICTURE, kind, exif=exif)
        wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        np.testing.assert_array_equal(pixels(data), np.asarray(wanted))


def entry(order, tag, kind, count, value):
    return struct.pack(f"{order}HHI", tag, kind, count) + value


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_broken_tag_elsewhere_does_not_lose_the_orientation(order):
    turn = {
        "short": entry(order, 0x0112, 3, 1, struct.pack(f"{order}HH", 6, 0)),
        "long": entry(order, 0x0112, 4, 1, struct.pack(f"{order}I", 6)),
        "two values": entry(order, 0x0112, 3, 2, struct.pack(f"{order}HH", 6, 1)),
    }
    broken = [
        entry(order, 0x010F, 2, 2**31, b"\xff\xff\xff\x7f"),  # A text outside of the file.
        entry(order, 0x011A, 5, 1, bytes(4)),  # A fraction at the header.
        entry(order, 0x8769, 4, 1, b"\xff\xff\xff\xff"),  # A directory nowhere.
        entry(order, 0x0131, 77, 3, bytes(4)),  # Of no kind.
        entry(order, 0x8825, 2, 1, b"x\0\0\0"),  # GPS that is a text.
    ]
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    for tag in turn.values():
        for entries in ([tag, *broken], [*broken, tag]):
            directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries)
            data = encoded(PICTURE, "JPEG", exif=b"Exif\0\0" + head + directory)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's own, of the broken tags.
                assert pixels(data).shape[:2] == (12, 8)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_exif_is_read_or_passed_over(exif):
    image = Image.new("RGB", (3, 2))
    image.info["exif"] = b"Exif\0\0II*\0\x08\0\0\0" + exif
    assert rgb(image).size in ((3, 2), (2, 3))


def test_what_the_released_way_reads_otherwise_is_told():
    clear, solid = PICTURE.convert("RGBA"), PICTURE.convert("RGBA")
    clear.putalpha(100)
    exif = Image.Exif()
    exif[0x0112] = 8
    deep = Image.fromarray(np.full((4, 4), 999, np.uint16))
    for image, reason in (
        (PICTURE, ""),
        (PICTURE.convert("L"), ""),
        (solid, ""),
        (clear, "transparency dropped"),
        (Image.open(io.BytesIO(encoded(PICTURE, exif=exif))), "EXIF rotation ignored"),
        (Image.open(io.BytesIO(encoded(clear, exif=exif))), "EXIF rotation ignored and trans"),
        (deep, "more than 8 bits clipped to white"),
    ):
        assert departure(image).startswith(reason) and bool(departure(image)) == bool(reason)
        same = np.array_equal(
            inference_image(image, 4, "exact"), inference_image(image, 4, "released")
        )
        assert same != bool(reason)
