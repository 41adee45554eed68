"""A split as an evaluator needs it: distinct images and captions, and which of them match."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prolip.config import DataConfig
from prolip.data.image import Form, inference_image
from prolip.data.items import Item, Items
from prolip.data.quarantine import Quarantine
from prolip.data.records import Bad, BadRecord, Caption, DataError
from prolip.data.sources.choose import open_source

Texts = tuple[tuple[str, ...], ...]  # Of each caption feature.


@dataclasses.dataclass(frozen=True)
class EvalSet:
    """Images and captions of a split; a pair matches when a record of the image has the text.

    Images are numbered 0 ... num_images - 1 in the order of the split, without bad records. Records
    of one image, which tables with a row for each caption have, are one image with all their
    captions: copies in a gallery would take the ranks of other images.
    """

    captions: tuple[Caption, ...]  # Distinct cleaned texts in the order of their appearance.
    positives: tuple[np.ndarray, ...]  # For each caption the images that it matches, ascending.
    image_captions: tuple[np.ndarray, ...]  # For each image the captions that it matches.
    labels: dict[str, tuple[str, ...]]  # For each label feature one class name an image.
    records: np.ndarray  # Int32[images]: number of each image's first record in the split.
    quarantine: Quarantine  # Records that are left out.
    notes: tuple[str, ...]  # Sentences on what the numbers of the split hide.
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
        """JSON values that results on this split depend on, besides the model.

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
    form: Form | None = None,
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
      form: Of the image transform, see `inference_image`; None takes that of `config`.
      split: Instead of `config.eval_split`.

    Raises:
      DataError: the data can't be used, or too large a part of it.
    """
    split, form = split or config.eval_split, form or config.form
    source = open_source(config, split, label_features)
    items = Items(source, config, upright=form == "exact", hashed=True)
    digest = hashlib.sha256()
    quarantine = Quarantine(config.max_bad_fraction, source.damage)
    images = _Images()
    for number in range(len(source)):
        try:
            item = items[number]
        except BadRecord as bad:
            quarantine.add(0, [Bad(number, source.key(number), str(bad))])
            digest.update(f"{bad}\n".encode())  # A limit like max_pixels changes what is left out.
            continue
        quarantine.add(1, ())
        digest.update(item.digest)
        images.add(number, item)
    if not images.numbers:
        reasons = ", ".join(f"{n:,} x {reason}" for reason, n in quarantine.reasons.items())
        raise DataError(
            f"split {split!r} of {source.name} has no record that can be used"
            + (f" ({reasons})" if reasons else "")
        )
    captions, positives, image_captions = _matches(config, images.ids, images.records)
    return EvalSet(
        captions=captions,
        positives=positives,
        image_captions=image_captions,
        labels={
            feature: tuple(classes[i] for classes in images.labels)
            for i, feature in enumerate(label_features)
        },
        records=np.asarray(images.numbers, np.int32),
        quarantine=quarantine,
        notes=images.notes(),
        name=f"{source.name} {split}",
        digest=digest.hexdigest(),
        _items=items,
        _size=image_size,
        _form=form,
    )


class _Images:
    """Distinct images of the good records: equal bytes with equal labels are one image."""

    def __init__(self) -> None:
        self.numbers: list[int] = []  # Of the first record of each image.
        self.ids: list[bytes] = []
        self.labels: list[tuple[str, ...]] = []
        self.records: list[tuple[bytes, Texts]] = []  # Id and texts of every record.
        self._known: set[tuple[bytes, tuple[str, ...]]] = set()

    def add(self, number: int, item: Item) -> None:
        self.records.append((item.image_id, item.texts))
        if (item.image_id, item.labels) not in self._known:
            self._known.add((item.image_id, item.labels))
            self.numbers.append(number)
            self.ids.append(item.image_id)
            self.labels.append(item.labels)

    def notes(self) -> tuple[str, ...]:
        count = len(self.numbers)
        several = sum(entries > 1 for entries in Counter(self.ids).values())
        notes = []
        if count < len(self.records):
            notes.append(
                f"images repeat: {len(self.records):,} records hold {count:,} images; each image "
                "counts once, with the captions of all its records"
            )
        if several:
            images = "image has" if several == 1 else "images have"
            notes.append(
                f"{several:,} {images} records with different labels; each label of an image "
                "counts as an image of its own"
            )
        return tuple(notes)


def _matches(
    config: DataConfig, ids: Sequence[bytes], records: Sequence[tuple[bytes, Texts]]
) -> tuple[tuple[Caption, ...], tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Captions, the images of each, and the captions of each image, by the ids of the images."""
    numbers: dict[bytes, list[int]] = {}
    for number, image_id in enumerate(ids):
        numbers.setdefault(image_id, []).append(number)
    level: dict[str, int] = {}
    images: dict[str, set[int]] = {}
    texts_of: dict[bytes, dict[str, None]] = {}
    for image_id, record in records:
        own: dict[str, int] = {}
        for feature, texts in enumerate(record):
            for text in texts:
                own.setdefault(text, feature)
        for text, feature in own.items():
            level[text] = max(level.get(text, 0), feature)
            images.setdefault(text, set()).update(numbers[image_id])
        texts_of.setdefault(image_id, {}).update(dict.fromkeys(own))
    captions = tuple(Caption(text, config.caption_features[level[text]]) for text in images)
    row = {text: i for i, text in enumerate(images)}
    image_captions = tuple(np.asarray([row[t] for t in texts_of[i]], np.int32) for i in ids)
    positives = tuple(np.asarray(sorted(matching), np.int32) for matching in images.values())
    return captions, positives, image_captions
