"""Encoded images to pixels: decoding, the transform of inference, and the pixels' normalisation."""

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from prolip.data.records import BadRecord

# Of the resized sides: a longer picture is resized where the square is alone. One of 65,000 x 4
# pixels, a file of 836 bytes, would otherwise need 3 GB.
LONGEST_RATIO = 64
MAX_SIDE = 16_384  # Pixels of a model's square.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")  # Decoders that bytes from outside may reach.
Form = Literal["exact", "released"]


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


def decode(encoded: bytes, max_pixels: int, least: int = 0) -> Image.Image:
    """The picture in the mode that it is stored in, first frame, all pixels read.

    `least` > 0 lets a JPEG be decoded at a half, a quarter or an eighth of its size as long as both
    sides keep as many pixels.

    Raises:
      BadRecord: no image of the formats allowed, damaged, or of more than `max_pixels`, which the
        header tells before any pixel is decoded.
    """
    if not encoded:
        raise BadRecord("empty image")
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        if image.width * image.height > max_pixels:
            raise BadRecord("image has too many pixels")
        if least:
            image.draft(None, (least, least))
        image.load()
    except UnidentifiedImageError as error:
        raise BadRecord("not a JPEG, PNG, WebP or GIF image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadRecord("image has too many pixels") from error
    except BadRecord:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes.
        raise BadRecord("damaged image") from error
    return image


def header_size(encoded: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height by the header; no pixel is decoded.

    Raises:
      BadRecord: no image of the formats allowed, or of more than `max_pixels`.
    """
    if not encoded:
        raise BadRecord("empty image")
    try:
        width, height = Image.open(io.BytesIO(encoded), formats=FORMATS).size
    except UnidentifiedImageError as error:
        raise BadRecord("not a JPEG, PNG, WebP or GIF image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadRecord("image has too many pixels") from error
    except Exception as error:
        raise BadRecord("damaged image") from error
    if width * height > max_pixels:
        raise BadRecord("image has too many pixels")
    return width, height


def rgb(image: Image.Image) -> Image.Image:
    """Upright RGB: EXIF rotation applied, transparent parts over white, 16 bit scaled to 8.

    Raises:
      BadRecord: the pixels can't be converted.
    """
    if image.mode == "RGB" and not image.info and not image.getexif():
        return image
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips it at 255.
            image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            canvas = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(canvas, image)
        return image.convert("RGB")
    except Exception as error:
        raise BadRecord("damaged image") from error


def inference_image(image: Image.Image, size: int, form: Form = "exact") -> np.ndarray:
    """Shortest side to `size` by antialiased bicubic resizing, then the central square.

    "exact" converts to RGB first. "released" (naver-ai/prolip, `src/prolip/transform.py`) converts
    last: a palette is then resized by nearest neighbour, transparency dropped, rotation ignored.
    Both give the same for RGB and grey pictures.

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
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def normalize(image: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """Pixels [..., 3] in 0 ... 255 to float32 by `mean` and `std` of the range 0 ... 1."""
    scaled = image.astype(jnp.float32) / 255
    shape = (1,) * (image.ndim - 1) + (3,)
    center, deviation = (jnp.asarray(x, jnp.float32).reshape(shape) for x in (mean, std))
    return (scaled - center) / deviation
