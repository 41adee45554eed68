"""A data set of random JPEG photographs with captions, as a user would prepare one."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

SIDE, QUALITY = 256, 90
CAPTIONS = 4
WORDS = (
    "a",
    "photo",
    "of",
    "red",
    "old",
    "small",
    "wooden",
    "boat",
    "dog",
    "table",
    "tree",
    "near",
)


class Pictures(tfds.core.GeneratorBasedBuilder):
    """`count` pictures; every caption is another, so that no tokens are known before."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, count: int = 0, **options: Any):
        self._count = count
        super().__init__(**options)

    def _info(self) -> Any:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "captions": tfds.features.Sequence(tfds.features.Text()),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(self._count):
            yield f"{number:06}", {"image": io.BytesIO(jpeg(number)), "captions": captions(number)}


def prepare(folder: Path, count: int) -> None:
    """Writes the data set `pictures` below the folder."""
    builder = Pictures(count=count, data_dir=str(folder), file_format="array_record")
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        builder.download_and_prepare()


def captions(number: int) -> list[str]:
    """Of about a dozen words."""
    rng = np.random.default_rng([1, number])
    return [f"{' '.join(rng.choice(WORDS, 10))} {number} {k}" for k in range(CAPTIONS)]


def jpeg(number: int) -> bytes:
    """Smooth shapes and some grain: of the size that a photograph of as many pixels has."""
    rng = np.random.default_rng([0, number])
    shapes = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
    smooth = np.asarray(shapes.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, 6, (SIDE, SIDE, 1)).astype(np.float32)
    buffer = io.BytesIO()
    pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
