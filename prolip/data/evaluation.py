"""A split as an evaluator needs it: images in order, distinct captions, who matches whom."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prolip.config import DataConfig
from prolip.data.image import Form, inference_image
from prolip.data.items import Items
from prolip.data.quarantine import Quarantine
from prolip.data.records import Bad, BadRecord, Caption, DataError
from prolip.data.sources.choose import open_source


@dataclasses.dataclass(frozen=True)
class EvalSet:
    """Images and captions of a split; a pair matches when the image's record has the text.

    Images are numbered 0 ... num_images - 1 in the order of the split, without bad records.
    """

    captions: tuple[Caption, ...]  # Distinct cleaned texts in the order of their appearance.
    positives: tuple[np.ndarray, ...]  # For each caption the images that it matches, ascending.
    image_captions: tuple[np.ndarray, ...]  # For each image the captions that it matches.
    labels: dict[str, tuple[str, ...]]  # For each label feature one class name an image.
    records: np.ndarray  # Int32[images]: number of each image's record in the split.
    quarantine: Quarantine  # Records that are left out.
    name: str  # Of the data set, with config, version and split.
    digest: str  # SHA-256 of all records: stored images, captions and labels, in order.
    _items: Items
    _size: int
    _form: Form

    @property
    def num_images(self) -> int:
        return len(self.records)

    @property
    def identity(self) -> dict[str, Any]:
        """What results on this split depend on, beside the model: JSON values.

        It goes by the content of the records, so that corrected captions are other data, and a
        copy in another folder is not.
        """
        return {
            "split": self.name,
            "records": self.num_images,
            "sha256": self.digest,
            "image_size": self._size,
            "pixels": self._form,
        }

    def texts(self, captions: Sequence[int]) -> set[str]:
        """Texts of some captions."""
        return {self.captions[c].text for c in captions}

    def images(self, batch: int, part: tuple[int, int] = (0, 1)) -> Iterator[np.ndarray]:
        """UInt8[at most batch, size, size, 3] in order; the last one may be smaller.

        Args:
          batch: Images of a batch.
          part: (i, n) for batches i, i + n, i + 2n ... alone: what one of n processes reads.
        """
        index, count = part
        for start in range(index * batch, self.num_images, count * batch):
            items = [self._items[int(number)] for number in self.records[start : start + batch]]
            yield np.stack([inference_image(i.image, self._size, self._form) for i in items])


def eval_set(
    config: DataConfig,
    image_size: int,
    label_features: Sequence[str] = (),
    form: Form = "exact",
    split: str = "",
) -> EvalSet:
    """Reads a split; every image is decoded once to know that it can be.

    The order of `caption_features` is that of levels, from specific to general. A text has the most
    general level of all records; a record that has the text in several features (a name among its
    own keywords) counts with the most specific of them.

    Args:
      config: Data set, captions, cleaning.
      image_size: Pixels a side.
      label_features: Features with one class name for each record.
      form: Of the image transform, see `inference_image`.
      split: Instead of `config.eval_split`.

    Raises:
      DataError: the data can't be used, or too large a part of it.
    """
    split = split or config.eval_split
    source = open_source(config, split, label_features)
    items = Items(source, config, upright=form == "exact", hashed=True)
    digest = hashlib.sha256()
    quarantine = Quarantine(config.max_bad_fraction, source.damage)
    numbers: list[int] = []
    texts: list[tuple[tuple[str, ...], ...]] = []
    labels: list[tuple[str, ...]] = []
    for number in range(len(source)):
        try:
            item = items[number]
        except BadRecord as bad:
            quarantine.add(0, [Bad(number, source.key(number), str(bad))])
            digest.update(f"{bad}\n".encode())  # A limit like max_pixels changes what is left out.
            continue
        quarantine.add(1, ())
        digest.update(item.digest)
        numbers.append(number)
        texts.append(item.texts)
        labels.append(item.labels)
    if not numbers:
        raise DataError(f"split {split!r} of {source.name} has no record that can be used")
    captions, positives, image_captions = _matches(config, texts)
    return EvalSet(
        captions=captions,
        positives=positives,
        image_captions=image_captions,
        labels={
            feature: tuple(classes[i] for classes in labels)
            for i, feature in enumerate(label_features)
        },
        records=np.asarray(numbers, np.int32),
        quarantine=quarantine,
        name=f"{source.name} {split}",
        digest=digest.hexdigest(),
        _items=items,
        _size=image_size,
        _form=form,
    )


def _matches(
    config: DataConfig, records: Sequence[tuple[tuple[str, ...], ...]]
) -> tuple[tuple[Caption, ...], tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    level: dict[str, int] = {}
    images: dict[str, list[int]] = {}
    for image, record in enumerate(records):
        for feature, texts in enumerate(record):
            for text in texts:
                matching = images.setdefault(text, [])
                if matching[-1:] != [image]:
                    matching.append(image)
                    level[text] = max(level.get(text, 0), feature)
    captions = tuple(Caption(text, config.caption_features[level[text]]) for text in images)
    number = {text: i for i, text in enumerate(images)}
    texts_of = (dict.fromkeys(text for texts in record for text in texts) for record in records)
    image_captions = tuple(np.asarray([number[t] for t in texts], np.int32) for texts in texts_of)
    positives = tuple(np.asarray(matching, np.int32) for matching in images.values())
    return captions, positives, image_captions
