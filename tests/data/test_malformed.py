"""Images as the web has them, in tars: the usable are trained on, others replaced and named."""

import dataclasses
import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from toy import png
from webfiles import tar_config, write_tar

from prolip.data.pipeline import TrainPipeline

SIZE = 16


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def bomb():
    """A PNG of 3.6 billion pixels in a few bytes."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


RGB = Image.open(io.BytesIO(png(3, 40, 30)))
RGB.load()
USABLE = {
    "cmyk": encoded(RGB.convert("CMYK"), "JPEG"),
    "grey16": encoded(Image.fromarray(np.asarray(RGB.convert("L")).astype(np.uint16) << 8)),
    "palette": encoded(RGB.quantize(16)),
    "bits": encoded(RGB.convert("1")),
    "clear": encoded(Image.new("RGBA", (30, 20), (9, 9, 9, 0))),
    "animated": encoded(RGB, "GIF", save_all=True, append_images=[RGB.rotate(90)] * 3),
    "webp": encoded(RGB, "WEBP"),
    "turned": encoded(RGB, "JPEG", exif=turned()),
    "one pixel": encoded(Image.new("RGB", (1, 1))),
    "thin": encoded(Image.new("RGB", (1, 500))),
}
UNUSABLE = {
    "zero": (b"", "empty image"),
    "html": (b"<html>404</html>", "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image"),
    "targa": (encoded(RGB, "TGA"), "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image"),
    "bomb": (bomb(), "image has too many pixels"),
    "large": (encoded(Image.new("1", (300, 300))), "image has too many pixels"),
    "cut png": (png(3)[:300], "damaged image"),
    "cut jpeg": (encoded(RGB, "JPEG")[:500], "damaged image"),
}
TEXTS = {
    "no text": (None, "no caption"),
    "blank": (b" \n\t", "no caption"),
    "latin1": (b"caf\xe9", "text is not UTF-8"),
    "marks": (b"!!", "no caption"),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    members = {}
    contents = {**USABLE, **{key: image for key, (image, _) in UNUSABLE.items()}}
    for key, image in contents.items():
        members |= {f"{key}.jpg": image, f"{key}.txt": key.encode()}
    for key, (text, _) in TEXTS.items():
        members[f"{key}.jpg"] = png(1)
        if text is not None:
            members[f"{key}.txt"] = text
    write_tar(folder / "set-0.tar", members)
    config = tar_config(folder, caption_features=("txt",), caption_weights=(1.0,))
    return dataclasses.replace(config, max_pixels=50_000, max_captions=1)


def test_usable_images_are_trained_on_and_the_others_replaced_and_named(config, tokenizer):
    pipeline = TrainPipeline(config, SIZE, tokenizer, 7, seed=2)
    batches = pipeline.batches()
    taken = list(itertools.islice(batches, 9))  # Three epochs of 21.
    batches.close()
    assert pipeline.num_records == 21
    source = pipeline._source
    drawn = {source.key(int(i)) for batch in taken for i in batch.index}
    assert drawn == {f"set-0/{key}" for key in USABLE}
    assert all(batch.image.shape == (7, SIZE, SIZE, 3) for batch in taken)
    reasons = {key: reason for key, (_, reason) in (UNUSABLE | TEXTS).items()}
    assert {line["key"]: line["reason"] for line in pipeline.quarantine.lines()} == {
        f"set-0/{key}": reason for key, reason in reasons.items()
    }
