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


def prepare(name: str, folder: Path, split: str, count: int = 6, **given: Any) -> Any:
    """Writes so many records where the real data set's would be; returns its builder.

    Args:
      name: of the data set in TFDS, with its config.
      folder: TFDS's data directory.
      split: the only one that is written.
      count: of records.
      given: features that are not made by `example`: functions of the record's number.
    """
    builder = tfds.builder(name, data_dir=folder, file_format="array_record")

    def examples():
        for number in range(count):
            values = {k: make(number) for k, make in given.items()}
            yield f"{number:05}", example(builder.info.features, number) | values

    builder._split_generators = lambda *_, **__: {split: examples()}
    builder.download_and_prepare()
    return builder
