"""The images or the texts of a TFDS data set."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from prolip.config import ConfigError, DataConfig
from prolip.data.records import BadRecord, DataError, Record
from prolip.data.sources.tfds import TfdsSource, prepare
from prolip.retrieval.collections.item import Item
from prolip.retrieval.embeddings import Kind

PREFIX = "tfds:"
UNREADABLE = -1  # In the place of a number of texts.


class TfdsImages:
    """One image a record; ids are the numbers of records in the split."""

    kind: Kind = "image"

    def __init__(self, name: str, data_dir: str = "", feature: str = ""):
        self._records = _Records(name, data_dir, self.kind, feature)
        self.source = self._records.name
        self.notes: list[str] = []

    def __len__(self) -> int:
        return len(self._records.source)

    def id(self, index: int) -> str:
        """Number of the record."""
        return str(index)

    def __getitem__(self, index: int) -> Item:
        """Raises BadRecord if the record can't be read."""
        return Item(self.id(index), f"{self.source}:{index}", self._records[index].image, None)

    def fingerprint(self) -> str:
        """Of the size and of some records."""
        return self._records.source.digest()


class TfdsTexts:
    """All texts of a feature; the id is the record's number, or number/text where it has several.

    How many texts a record has, its content alone tells: all are read once at the start.
    """

    kind: Kind = "text"

    def __init__(self, name: str, data_dir: str = "", feature: str = "", threads: int = 8):
        self._records = _Records(name, data_dir, self.kind, feature)
        self.source = self._records.name
        self.notes: list[str] = []
        size = len(self._records.source)
        with ThreadPoolExecutor(threads) as pool:
            counts = np.fromiter(pool.map(self._count, range(size), chunksize=64), np.int64, size)
        self._alone = counts <= 1  # A record without a text is an item that fails.
        self._begins = np.concatenate([[0], np.cumsum(np.maximum(counts, 1))])

    def __len__(self) -> int:
        return int(self._begins[-1])

    def id(self, index: int) -> str:
        """Number of the record, and of the text where there are several."""
        record, text = self._place(index)
        return f"{record}" if self._alone[record] else f"{record}/{text}"

    def __getitem__(self, index: int) -> Item:
        """Raises BadRecord if the record can't be read or has no text."""
        record, text = self._place(index)
        texts = self._records[record].captions[0]
        if not texts:
            raise BadRecord("no text")
        return Item(self.id(index), f"{self.source}:{record}", None, texts[text])

    def fingerprint(self) -> str:
        """Of the size, of some records, and of how many texts each has."""
        digest = hashlib.sha256(self._records.source.digest().encode())
        digest.update(self._begins.astype("<i8").tobytes())
        return digest.hexdigest()

    def _place(self, index: int) -> tuple[int, int]:
        record = int(np.searchsorted(self._begins, index, "right")) - 1
        return record, index - int(self._begins[record])

    def _count(self, record: int) -> int:
        try:
            return len(self._records[record].captions[0])
        except BadRecord:
            return UNREADABLE


class _Records:
    """A split, with the feature that is embedded; "" finds it.

    Raises:
      ConfigError: the feature has to be named.
      DataError: no such data set, split or feature.
    """

    def __init__(self, name: str, data_dir: str, kind: Kind, feature: str):
        set_, _, split = name.removeprefix(PREFIX).partition(":")
        info = prepare(DataConfig(name=set_, data_dir=data_dir)).info
        if not split:
            split = next(iter(info.splits)) if len(info.splits) == 1 else "train"
        images = [path for path in _paths(info.features, tfds.features.Image) if "/" not in path]
        texts = list(_paths(info.features, tfds.features.Text))
        found = images if kind == "image" else texts
        if not feature and len(found) != 1:
            known = ", ".join(found) or "none of this kind"
            raise ConfigError(f"{set_}: name the {kind} feature with --column; it has {known}")
        feature = feature or found[0]
        # `TfdsSource` reads an image and a text of each record.
        texts += _paths(info.features, tfds.features.ClassLabel)
        image = feature if kind == "image" else next(iter(images), "")
        text = feature if kind == "text" else next(iter(texts), "")
        if not image or not text:
            missing = "text or class" if image else "image"
            raise DataError(f"{set_} can't be read: it has no {missing} feature")
        self.name = f"{PREFIX}{set_}:{split}"
        config = DataConfig(
            name=set_, data_dir=data_dir, image_feature=image, caption_features=(text,)
        )
        self.source = TfdsSource(config, split)

    def __getitem__(self, record: int) -> Record:
        return self.source[record]


def _paths(features: Any, kinds: Any, path: str = "") -> Iterator[str]:
    while isinstance(features, tfds.features.Sequence):
        features = features.feature
    if isinstance(features, tfds.features.FeaturesDict):
        for name in features:
            yield from _paths(features[name], kinds, f"{path}/{name}" if path else name)
    elif isinstance(features, kinds):
        yield path
