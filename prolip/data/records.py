"""What the parts of the input pipeline hand to each other."""

import dataclasses
from typing import Any, NamedTuple


class DataError(ValueError):
    """Data that can't be used; the message says what to do."""


class BadRecord(ValueError):
    """One record that can't be used; the message is the reason, one of few, for counting."""


class Record(NamedTuple):
    """A record as it is stored."""

    image: bytes  # Encoded.
    captions: tuple[tuple[str, ...], ...]  # Texts of each caption feature.
    labels: tuple[str, ...]  # Class name for each label feature.
    key: str = ""  # Names it to people: "00003/000031234", "table.parquet::12", a TFDS number.


class Bad(NamedTuple):
    """A record that could not be used, or a file that is damaged."""

    number: int | None  # Of the record in its split; None for what is no record.
    key: str
    reason: str  # One of few, for counting.


class Batch(NamedTuple):
    """Rows of a global batch: NumPy arrays on the host, or arrays on a mesh."""

    image: Any  # UInt8[batch height width 3], not normalised.
    text: Any  # Int32[batch length]
    caption: Any  # Int32[batch]: id of the drawn caption, `text.caption_id`.
    captions: Any  # Int32[batch captions]: ids of all known captions of the image; 0 pads.
    # Int32[batch]: number of the record in its split.
    index: Any
    # Int32[batch 2]: equal where the encoded images are, `image.image_id`; None: no two rows are
    # known to be of one image.
    image_id: Any = None


@dataclasses.dataclass(frozen=True)
class Caption:
    """A distinct text of a split."""

    text: str  # Cleaned.
    level: str  # The caption feature that it comes from.
