"""A TFDS data set of a test's own: what a user's builder looks like."""

import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from prolip.config import DataConfig, TokenizerConfig


class Toy(tfds.core.GeneratorBasedBuilder):
    """Rows that a test puts into `rows`: title, picture (bytes), texts, kind."""

    VERSION = tfds.core.Version("2.1.0")
    rows: ClassVar[list[dict[str, Any]]] = []

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "title": tfds.features.Text(),
                    "picture": tfds.features.Image(shape=(None, None, 3)),
                    "captions": tfds.features.Sequence({"text": tfds.features.Text()}),
                    "kind": tfds.features.ClassLabel(names=["round", "square"]),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number, row in enumerate(self.rows):
            yield (
                f"{number:06}",
                {
                    "title": row["title"],
                    "picture": io.BytesIO(row["picture"]),
                    "captions": [{"text": text} for text in row.get("texts", ())],
                    "kind": row.get("kind", "round"),
                },
            )


def make_set(folder: Path, rows: list[dict[str, Any]], **options: Any) -> DataConfig:
    """Prepares a data set of these rows and returns a config that reads it."""
    Toy.rows = rows
    builder = tfds.builder("toy", data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    defaults = {
        "name": "toy",
        "data_dir": str(folder),
        "eval_split": "train",
        "image_feature": "picture",
        "caption_features": ("title", "captions/text"),
        "caption_weights": (0.5, 0.5),
        "tokenizer": TokenizerConfig(vocab_size=200),
        "num_threads": 2,
    }
    return DataConfig(**{**defaults, **options})


def png(number: int, width: int = 24, height: int = 20, kind: str = "PNG") -> bytes:
    """A picture that differs from that of every other number."""
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def rows(count: int) -> list[dict[str, Any]]:
    """Good rows; row n has n % 3 texts besides its title."""
    return [
        {
            "title": f"picture number {n}",
            "picture": png(n),
            "texts": [f"shared text {n % 5}", f"own text {n}"][: n % 3],
            "kind": ("round", "square")[n % 2],
        }
        for n in range(count)
    ]
