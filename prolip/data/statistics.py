"""What a data set holds: sizes, captions, duplicates, and a picture of some of it."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from prolip.config import DataConfig
from prolip.data.image import decode, inference_image
from prolip.data.records import BadRecord
from prolip.data.sources.source import Source
from prolip.data.text import clean, is_blank

PERCENTILES = (0, 1, 50, 99, 100)
WINDOW = 4096  # Records that wait for a thread at a time.


class Measured(NamedTuple):
    """Of one good record."""

    nbytes: int  # Of the encoded image.
    width: int
    height: int
    form: str  # Format and mode, as "JPEG RGB".
    image: int  # Hash of the encoded image.
    texts: tuple[tuple[int, int, int], ...]  # Hash, characters and words of each cleaned caption.


class Statistics(NamedTuple):
    """Of the records that were looked at."""

    records: int  # Of the source.
    looked_at: int
    bad: Counter[str]  # Reason to count.
    forms: Counter[str]
    nbytes: int  # Of all encoded images looked at.
    captions: int
    distinct_captions: int
    distinct_images: int  # By their encoded bytes.
    most_repeated: int  # Records of the image that is there most often.
    quantities: dict[str, tuple[float, ...]]  # Name to `PERCENTILES`.


def collect(
    source: Source,
    config: DataConfig,
    samples: int = 0,
    advance: Callable[[int], None] = lambda records: None,
) -> Statistics:
    """Looks at records.

    Args:
      source: Of any kind.
      config: Cleaning, limits, threads.
      samples: Records to look at, evenly spread; 0 is all.
      advance: Called with 1 after each record.
    """
    numbers = spread(len(source), samples)
    bad: Counter[str] = Counter()
    good: list[Measured] = []

    def look(number: int) -> Measured | str:
        try:
            return measure(source, number, config)
        except BadRecord as reason:
            return str(reason)

    with ThreadPoolExecutor(max(1, config.num_threads)) as pool:
        for start in range(0, len(numbers), WINDOW):
            for found in pool.map(look, numbers[start : start + WINDOW]):
                if isinstance(found, str):
                    bad[found] += 1
                else:
                    good.append(found)
                advance(1)
    texts = [text for record in good for text in record.texts]
    images = Counter(record.image for record in good)
    return Statistics(
        records=len(source),
        looked_at=len(numbers),
        bad=bad,
        forms=Counter(record.form for record in good),
        nbytes=sum(record.nbytes for record in good),
        captions=len(texts),
        distinct_captions=len({text[0] for text in texts}),
        distinct_images=len(images),
        most_repeated=max(images.values(), default=0),
        quantities={
            "bytes of an image": _percentiles(r.nbytes for r in good),
            "width": _percentiles(r.width for r in good),
            "height": _percentiles(r.height for r in good),
            "long side / short side": _percentiles(
                max(r.width, r.height) / min(r.width, r.height) for r in good
            ),
            "captions of a record": _percentiles(len(r.texts) for r in good),
            "characters of a caption": _percentiles(text[1] for text in texts),
            "words of a caption": _percentiles(text[2] for text in texts),
        },
    )


def measure(source: Source, number: int, config: DataConfig) -> Measured:
    """Raises BadRecord if the record can't be used."""
    record = source[number]
    cleaned = [clean(t, config.tokenizer.cleaning) for texts in record.captions for t in texts]
    texts = [text for text in cleaned if not is_blank(text)]
    if not texts:
        raise BadRecord("no caption")
    image = decode(record.image, config.max_pixels)
    return Measured(
        nbytes=len(record.image),
        width=image.width,
        height=image.height,
        form=f"{image.format} {image.mode}",
        image=_hash(record.image),
        texts=tuple((_hash(text.encode()), len(text), len(text.split())) for text in texts),
    )


def contact_sheet(
    source: Source, config: DataConfig, columns: int = 12, rows: int = 8, size: int = 96
) -> Image.Image:
    """Pictures of records, evenly spread, as training sees them at inference; bad ones are grey."""
    sheet = Image.new("RGB", (columns * size, rows * size), "grey")
    numbers = spread(len(source), columns * rows)
    for number, (row, column) in zip(
        numbers, itertools.product(range(rows), range(columns)), strict=False
    ):
        try:
            image = decode(source[number].image, config.max_pixels)
            picture = inference_image(image, size, config.form)
        except BadRecord:
            continue
        sheet.paste(Image.fromarray(picture), (column * size, row * size))
    return sheet


def spread(count: int, samples: int) -> Sequence[int]:
    """Numbers below `count`, evenly spread; all where `samples` is 0 or as many."""
    if not samples or samples >= count:
        return range(count)
    return [i * count // samples for i in range(samples)]


def _percentiles(values: Iterable[float]) -> tuple[float, ...]:
    array = np.fromiter(values, np.float64)
    return tuple(np.percentile(array, PERCENTILES).tolist()) if len(array) else ()


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
