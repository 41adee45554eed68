"""Decoding of whatever users have, and the released inference transform."""

import dataclasses
import io
import json
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from toy import png

from prolip.config import DataConfig
from prolip.data.image import Preprocessing, decode, inference_image, normalize, rgb
from prolip.data.records import BadRecord

FOLDER = Path(__file__).parent / "fixtures" / "preprocess"
EXPECTED = np.load(FOLDER / "outputs.npz")
NAMES = sorted(path.stem for path in FOLDER.glob("*.png"))
LIMIT = 10**6


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(rgb(decode(data, LIMIT)))


@pytest.mark.parametrize("name", NAMES)
def test_inference_transform_is_the_released_one_bit_for_bit(name):
    image = decode((FOLDER / f"{name}.png").read_bytes(), LIMIT)
    got = inference_image(image, 32, "released")
    np.testing.assert_array_equal(got, EXPECTED[f"{name}_uint8_hwc"])
    if image.mode in ("RGB", "L"):
        np.testing.assert_array_equal(inference_image(image, 32), got)
    config = DataConfig()
    normalised = np.asarray(normalize(got, config.mean, config.std)).transpose(2, 0, 1)
    np.testing.assert_allclose(normalised, EXPECTED[name], rtol=0, atol=1e-6)


def test_transparent_parts_are_white():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((1, 2), (0, 0, 255, 255))
    image.putpixel((2, 2), (0, 0, 0, 128))
    got = pixels(encoded(image))
    assert got[0, 0].tolist() == [255] * 3 and got[2, 1].tolist() == [0, 0, 255]
    assert got[2, 2].tolist() == [127] * 3
    grey = Image.new("LA", (2, 2), (0, 0))
    assert (pixels(encoded(grey)) == 255).all()
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([9, 9, 9, 0, 200, 0])
    assert (pixels(encoded(palette, transparency=1)) == 255).all()
    assert pixels(encoded(palette))[0, 0].tolist() == [0, 200, 0]


def test_sixteen_bit_grey_keeps_its_range():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    got = pixels(encoded(Image.fromarray(ramp)))
    np.testing.assert_array_equal(got, np.repeat(ramp[..., None] >> 8, 3, -1))


def test_cmyk_becomes_rgb():
    got = pixels(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(got.astype(int) - [255, 0, 0]).max() < 6


def test_exif_rotation_is_applied_except_in_the_released_form():
    image = Image.new("RGB", (16, 8), "red")
    image.paste((0, 0, 255), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by 90 degrees clockwise: the left half comes to the top.
    data = encoded(image, "PNG", exif=exif)
    assert pixels(data).shape == (16, 8, 3) and pixels(data)[0, 0, 2] == 255
    exact, released = (inference_image(decode(data, LIMIT), 8, f) for f in ("exact", "released"))
    assert len(np.unique(exact[:, 0], axis=0)) > 1 and len(np.unique(released[:, 0], axis=0)) == 1


def test_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for kind in ("GIF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(pixels(data).astype(int) - [255, 0, 0]).max() < 8


def test_jpeg_is_reduced_only_as_far_as_asked():
    data = png(0, 400, 320, "JPEG")
    assert decode(data, LIMIT).size == (400, 320)
    assert decode(data, LIMIT, least=100).size == (200, 160)
    assert decode(data, LIMIT, least=161).size == (400, 320)


def header(width: int, height: int) -> bytes:
    """A small PNG that claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty image"),
        (b"\x00" * 500, "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image"),
        (b"<svg/>", "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image"),
        (
            encoded(Image.new("RGB", (4, 4)), "TGA"),
            "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image",
        ),
        (
            encoded(Image.new("RGB", (4, 4)), "PPM"),
            "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image",
        ),
        (png(0)[:300], "damaged image"),
        (png(0, kind="JPEG")[:300], "damaged image"),
        (png(0)[:400] + b"\xff" + png(0)[401:], "damaged image"),
        (header(1001, 1000), "image has too many pixels"),
        (header(10_000, 10_000), "image has too many pixels"),  # Pillow would warn.
        (header(60_000, 60_000), "image has too many pixels"),  # Pillow would raise.
    ],
    ids=range(11),
)
def test_bad_bytes_have_a_reason_and_bombs_are_not_decoded(data, reason):
    start = time.perf_counter()
    with pytest.raises(BadRecord) as error:
        rgb(decode(data, LIMIT))
    assert str(error.value) == reason
    assert time.perf_counter() - start < 1


@settings(max_examples=300)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
    place=st.floats(0, 1, exclude_max=True),
    change=st.sampled_from(["cut", "flip", "zero", "insert"]),
    byte=st.integers(1, 255),
)
def test_mutated_image_is_decoded_or_has_a_reason(kind, place, change, byte):
    good = png(3, 16, 16, kind)
    at = int(place * len(good))
    tail = {
        "cut": b"",
        "flip": bytes([good[at] ^ byte]) + good[at + 1 :],
        "zero": bytes(len(good) - at),
        "insert": bytes([byte]) * 9 + good[at:],
    }[change]
    try:
        image = inference_image(decode(good[:at] + tail, LIMIT), 8)
    except BadRecord:
        return
    assert image.shape == (8, 8, 3) and image.dtype == np.uint8


@given(width=st.integers(1, 200), height=st.integers(1, 200), size=st.integers(1, 40))
@settings(max_examples=50)
def test_inference_image_is_square_whatever_the_shape(width, height, size):
    image = inference_image(Image.new("RGB", (width, height), (7, 8, 9)), size)
    assert image.shape == (size, size, 3) and (image == [7, 8, 9]).all()


@pytest.mark.parametrize("size", [(20_000_000, 2), (1, 30_000_000)])
def test_long_pictures_need_no_memory_of_the_square_of_their_length(size):
    """Resized as a whole, these would have 10^11 pixels and more."""
    image = inference_image(Image.new("L", size, 130), 32)
    assert image.shape == (32, 32, 3)
    assert (image == 130).all()


def test_long_pictures_are_cut_in_the_middle():
    pixels = np.zeros((4, 4 * 65, 3), np.uint8)
    pixels[:, 4 * 32 : 4 * 33] = 255
    image = inference_image(Image.fromarray(pixels), 32)
    assert image[:, 4:-4].min() > 240


def test_preprocessing_survives_json():
    preprocessing = Preprocessing(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "released")
    again = Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict())))
    assert again == preprocessing and dataclasses.astuple(again)[3] == "released"
