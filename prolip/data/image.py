"""Encoded images to pixels: decoding, the transform of inference, and the pixels' normalisation."""

import dataclasses
import hashlib
import io
import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, UnidentifiedImageError

from prolip.data import orientation, png_metadata
from prolip.data.records import BadRecord

# Of the resized sides: a longer picture is resized where the square is alone. One of 65,000 x 4
# pixels, a file of 836 bytes, would otherwise need 3 GB.
LONGEST_RATIO = 64
MAX_SIDE = 16_384  # Pixels of a model's square.
# Decoders that bytes from outside may reach.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
FORMAT_NAMES = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
NOT_AN_IMAGE = f"not a {FORMAT_NAMES} image"
TOO_MANY_PIXELS = "image has too many pixels"
# Formats that users have and that are not read, by their first bytes: (offset, bytes).
UNREAD = {
    "HEIC": ((4, b"ftyphei"), (4, b"ftyphev"), (4, b"ftypmif1"), (4, b"ftypmsf1")),
    "JPEG 2000": ((4, b"jP  \r\n\x87\n"), (0, b"\xff\x4f\xff\x51")),
    "JPEG XL": ((4, b"JXL \r\n\x87\n"), (0, b"\xff\x0a")),
}
Form = Literal["exact", "released"]
T = TypeVar("T")
# What the released preprocessing does to pictures that a viewer shows otherwise.
ROTATION, TRANSPARENCY, DEEP = (
    "EXIF rotation ignored",
    "transparency dropped",
    "more than 8 bits clipped to white",
)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What a model expects of an image; travels with its checkpoint."""

    image_size: int
    mean: tuple[float, ...]  # Of RGB in [0, 1].
    std: tuple[float, ...]
    form: Form = "exact"  # "released": as the published code, see `inference_image`.

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Inverse of `to_dict`, from JSON.

        Raises:
          ValueError: a field is missing, unknown, or of a value that no image can be read with.
        """
        try:
            read = cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"preprocessing.json is damaged: {error}") from error
        if type(read.image_size) is not int or not 1 <= read.image_size <= MAX_SIDE:
            raise ValueError(f"preprocessing.json: image_size is {read.image_size!r:.40}")
        if read.form not in get_args(Form):
            raise ValueError(f"preprocessing.json: form is {read.form!r:.40}")
        check_statistics(read.mean, read.std)
        return read


def check_statistics(mean: Sequence[Any], std: Sequence[Any]) -> None:
    """Raises ValueError unless both are three finite numbers, those of `std` above zero."""
    for name, values in (("mean", mean), ("std", std)):
        numbers = [x for x in values if isinstance(x, int | float) and math.isfinite(x)]
        if len(numbers) != len(values) or len(values) != 3 or (name == "std" and min(numbers) <= 0):
            kind = "finite numbers above zero" if name == "std" else "finite numbers"
            raise ValueError(f"{name} must be three {kind}, of red, green and blue; got {values}")


def image_id(encoded: bytes) -> bytes:
    """Eight bytes that are equal for equal encoded images, and by chance for one pair in 2^64."""
    return hashlib.sha256(encoded).digest()[:8]


def decode(encoded: bytes, max_pixels: int, least: int = 0) -> Image.Image:
    """The picture in the mode that it is stored in, first frame, all pixels read.

    `least` > 0 lets a JPEG be decoded at a half, a quarter or an eighth of its size as long as both
    sides keep as many pixels.

    Raises:
      BadRecord: no image of the formats allowed, damaged, or of more than `max_pixels`, which the
        header tells before any pixel is decoded.
    """

    def load(encoded: bytes) -> Image.Image:
        image = _opened(encoded, max_pixels)
        if least:
            image.draft(None, (least, least))
        image.load()
        key = image.info.get("transparency")
        if isinstance(key, tuple) and png_metadata.is_16_bit(encoded):
            # Pillow keeps the upper halves of the pixels, and the key whole.
            image.info["transparency"] = tuple(value >> 8 for value in key)
        return image

    return _with_reasons(load, encoded)


def header_size(encoded: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height by the header; no pixel is decoded.

    Raises:
      BadRecord: no image of the formats allowed, or of more than `max_pixels`.
    """
    return _with_reasons(lambda encoded: _opened(encoded, max_pixels).size, encoded)


def _with_reasons(read: Callable[[bytes], T], encoded: bytes) -> T:
    """The result of `read`, whatever Pillow raises as a BadRecord."""
    if not encoded:
        raise BadRecord("empty image")
    try:
        try:
            return read(encoded)
        except ValueError as error:
            # Texts or a colour profile larger than Pillow unpacks: the pixels may be whole.
            if isinstance(error, BadRecord) or not encoded.startswith(png_metadata.SIGNATURE):
                raise
            return read(png_metadata.without_texts(encoded))
    except UnidentifiedImageError as error:
        raise BadRecord(_unread(encoded)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadRecord(TOO_MANY_PIXELS) from error
    except BadRecord:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes.
        raise BadRecord("damaged image") from error


def _opened(encoded: bytes, max_pixels: int) -> Image.Image:
    """An image whose header is read.

    `Image.open` would do the same, but for its own limit of pixels, a global of the process.
    """
    Image.init()
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        # A decoder that this build of Pillow lacks answers with a sentence.
        if accept is not None and accept(encoded[:16]) is not True:
            continue
        try:
            image = factory(io.BytesIO(encoded), "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # Of another format.
            continue
        if image.width * image.height > max_pixels:
            raise BadRecord(TOO_MANY_PIXELS)
        return image
    raise UnidentifiedImageError


def _unread(encoded: bytes) -> str:
    for name, marks in UNREAD.items():
        if any(encoded[start : start + len(mark)] == mark for start, mark in marks):
            return f"{name} image, which is not read; convert it to JPEG or PNG"
    return NOT_AN_IMAGE


def rgb(image: Image.Image) -> Image.Image:
    """Upright RGB: EXIF rotation applied, transparent parts over white, 16 bit scaled to 8.

    Raises:
      BadRecord: the pixels can't be converted.
    """
    if image.mode == "RGB" and not image.info:
        return image
    try:
        image.load()
        if (turn := orientation.transpose(image)) is not None:
            image = image.transpose(turn)
        if image.mode.startswith("I;16"):  # Pillow's own conversion clips it at 255.
            image = _eight_bit(image)
        elif image.mode in ("I", "F"):
            raise BadRecord("pixels of 32 bits have no known range; store them with 8 or 16 bits")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            canvas = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(canvas, image)
        return image.convert("RGB")
    except BadRecord:
        raise
    except Exception as error:
        raise BadRecord("damaged image") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    grey = (pixels >> 8).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[pixels == key] = 255
    return Image.fromarray(grey)


def departure(image: Image.Image) -> str:
    """Names what the form "released" does to an image that a viewer shows otherwise, or ""."""
    reasons = []
    if orientation.transpose(image) is not None:
        reasons.append(ROTATION)
    if image.mode.startswith(("I", "F")):
        reasons.append(DEEP)
    elif image.has_transparency_data:
        alpha = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
        if alpha.getchannel("A").getextrema()[0] != 255:
            reasons.append(TRANSPARENCY)
    return " and ".join(reasons)


def departures_sentence(counts: Mapping[str, int], images: int, remedy: str) -> str:
    """One line about the images that the form "released" reads otherwise than they are shown.

    Args:
      counts: Of images by `departure`.
      images: All of them.
      remedy: What to do for the others.
    """
    counted = Counter(counts)
    parts = ", ".join(f"{count:,} x {reason}" for reason, count in counted.most_common())
    are = "is" if counted.total() == 1 else "are"
    return (
        f"{counted.total():,} of {images:,} images {are} embedded otherwise than a viewer shows "
        f"them, as this model's released preprocessing does ({parts}); {remedy}"
    )


def inference_image(image: Image.Image, size: int, form: Form = "exact") -> np.ndarray:
    """Shortest side to `size` by antialiased bicubic resizing, then the central square.

    "exact" converts to RGB first. "released" (naver-ai/prolip, `src/prolip/transform.py`) converts
    last: a palette is then resized by nearest neighbour, transparency dropped, rotation ignored,
    and 16-bit grey clipped at 255, which is nearly all white. Both give the same for upright RGB
    and 8-bit grey pictures.

    Returns:
      UInt8[size size 3].
    """
    if form == "exact":
        image = rgb(image)
    width, height = image.size
    short = min(width, height)
    width, height = int(size * width / short), int(size * height / short)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if max(width, height) > LONGEST_RATIO * size:
        across, down = image.width / width, image.height / height
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    else:
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(last_rgb(image))


def last_rgb(image: Image.Image) -> Image.Image:
    """RGB of a resized image as the form "released" makes it: transparency is dropped."""
    if image.mode == "RGB":
        return image
    # The pixels are the same with it, but for some palettes Pillow would warn.
    image.info.pop("transparency", None)
    return image.convert("RGB")


def normalize(image: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """Pixels [..., 3] in 0 ... 255 to float32 by `mean` and `std` of the range 0 ... 1."""
    scaled = image.astype(jnp.float32) / 255
    shape = (1,) * (image.ndim - 1) + (3,)
    center, deviation = (jnp.asarray(x, jnp.float32).reshape(shape) for x in (mean, std))
    return (scaled - center) / deviation
