"""Records as examples of a TFDS data set: `image`, the captions under their names, `key`."""

import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from PIL import Image

from prolip.data import orientation
from prolip.data.image import decode, header_size, rgb
from prolip.data.records import BadRecord, Record

IMAGE, KEY = "image", "key"
PLAIN_FORMATS = ("JPEG", "MPO", "PNG")  # That any reader decodes.


class Examples:
    """Serialises records; image bytes stay as they are.

    Args:
      captions: Caption features of the source, in order.
    """

    def __init__(self, captions: Sequence[str]):
        self.names = feature_names(captions)
        self.features = tfds.features.FeaturesDict(
            {
                IMAGE: tfds.features.Image(shape=(None, None, 3)),
                **{name: tfds.features.Sequence(tfds.features.Text()) for name in self.names},
                KEY: tfds.features.Text(),
            }
        )
        self._serializer = tfds.core.example_serializer.ExampleSerializer(
            self.features.get_serialized_info()
        )

    def serialize(self, record: Record) -> bytes:
        """The bytes of an example; those of the image are left as they are."""
        example: dict[str, Any] = {IMAGE: io.BytesIO(record.image), KEY: record.key}
        example |= {n: list(t) for n, t in zip(self.names, record.captions, strict=True)}
        built = self._serializer.get_tf_example(self.features.encode_example(example))
        return built.SerializeToString(deterministic=True)  # The same bytes in any process.


def feature_names(captions: Sequence[str]) -> list[str]:
    """Names of TFDS features for those of a source: "txt" is `caption`, "json/a" is `json_a`."""
    names: list[str] = []
    for caption in captions:
        name = "caption" if caption == "txt" else re.sub(r"\W", "_", caption)
        taken = {*names, IMAGE, KEY}
        number = 2
        base = name
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names


class Checked(NamedTuple):
    """A record that can be stored."""

    record: Record
    unusual: str  # What other readers may make nothing of, or something else, see `unusual`.


def checked(
    record: Record, max_pixels: int, max_side: int, quality: int, convert: bool = False
) -> Checked:
    """The record, its image decoded once to know that it can be, and made smaller if it is larger.

    Args:
      record: With or without captions.
      max_pixels: Of the image; more is refused before any is decoded.
      max_side: Pixels of the longer side; a larger image is scaled and stored as JPEG. 0 keeps all.
      quality: Of the JPEG.
      convert: Store an unusual image as upright RGB, in PNG.

    Raises:
      BadRecord: no caption, or an image that can't be used.
    """
    if not any(text.strip() for texts in record.captions for text in texts):
        raise BadRecord("no caption")
    if not max_side or max(header_size(record.image, max_pixels)) <= max_side:
        image = decode(record.image, max_pixels)
        reason = unusual(image)
        if not (convert and reason):
            return Checked(record, reason)
        image, form, options = rgb(image), "PNG", {}
    else:
        image = rgb(decode(record.image, max_pixels, max_side))
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=None)
        form, options = "JPEG", {"quality": quality}
    image.info = {}  # The profile of other colours, say.
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Checked(record._replace(image=buffer.getvalue()), "")


def unusual(image: Image.Image) -> str:
    """Names how a decoded image differs from a JPEG or PNG of upright RGB or grey, or "".

    Readers of TFDS data decode the stored bytes by other rules than `rgb`: palettes become planes
    of their indices, images with transparency or in CMYK have four channels, 16 bits are clipped,
    and the rotation by EXIF is ignored.
    """
    if image.format not in PLAIN_FORMATS:
        return f"{image.format} file"
    if image.mode not in ("RGB", "L"):
        return f"mode {image.mode}"
    if image.has_transparency_data:
        return "transparent color"
    return "rotated by EXIF" if orientation.transpose(image) is not None else ""
