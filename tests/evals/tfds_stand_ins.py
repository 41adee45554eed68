"""Small prepared data sets with the features that the builders of TFDS declare."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def example(feature: Any, number: int) -> Any:
    """A value of a feature for the record of this number; class `number` modulo the classes."""
    kinds = tfds.features
    if isinstance(feature, kinds.FeaturesDict):
        return {name: example(feature[name], number) for name in feature}
    if isinstance(feature, kinds.Sequence):
        return [example(feature.feature, number + i) for i in range(1 + number % 3)]
    if isinstance(feature, kinds.ClassLabel):
        return number % feature.num_classes
    if isinstance(feature, kinds.Image):
        shape = [side or 12 for side in feature.shape[:2]] + [feature.shape[2] or 3]
        pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        return encoded(pixels.squeeze(), "JPEG" if feature.encoding_format == "jpeg" else "PNG")
    if isinstance(feature, kinds.Text):
        return f"text {number}"
    if isinstance(feature, kinds.BBoxFeature):
        return kinds.BBox(0.1, 0.1, 0.9, 0.9)
    return np.full(feature.shape, number % 2, feature.np_dtype)


def encoded(pixels: np.ndarray, form: str) -> io.BytesIO:
    """A file as it is stored: TFDS encodes arrays with TensorFlow only."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return io.BytesIO(buffer.getvalue())


def builder(name: str, folder: Path) -> Any:
    """The builder that TFDS has for this data set."""
    return tfds.builder(name, data_dir=folder, file_format="array_record")


def prepare(name: str, folder: Path, split: str, count: int = 6, **given: Any) -> None:
    """Writes so many records where the real data set's would be.

    Args:
      name: of the data set in TFDS, with its config.
      folder: TFDS's data directory.
      split: the only one that is written.
      count: of records.
      given: features that are other than `example` makes them: functions of the record's number
        and of what it made.
    """
    own = builder(name, folder)

    def examples():
        for number in range(count):
            made = example(own.info.features, number)
            changed = {feature: make(number, made[feature]) for feature, make in given.items()}
            yield f"{number:05}", made | changed

    own._split_generators = lambda *_, **__: {split: examples()}
    own.download_and_prepare()
