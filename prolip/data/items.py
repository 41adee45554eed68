"""Stored records to decoded ones, with the next good one in the place of a bad one."""

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from PIL import Image

from prolip.config import DataConfig
from prolip.data import image as images
from prolip.data.records import Bad, BadRecord, DataError, Record
from prolip.data.sources.source import Source
from prolip.data.text import caption_id, clean, is_blank, sentences


class Item(NamedTuple):
    """A decoded record."""

    image: Image.Image  # As stored if `upright` was not asked for, else RGB.
    texts: tuple[tuple[str, ...], ...]  # Cleaned, distinct texts of each caption feature.
    # Ids of all distinct texts, in order; then of those of other records with the same image.
    captions: tuple[int, ...]
    labels: tuple[str, ...]
    # Cleaned sentences of each text that has several, where sentences may be drawn.
    sentences: Mapping[str, tuple[str, ...]] = {}
    image_id: bytes = bytes(8)  # `image.image_id`.
    digest: bytes = b""  # SHA-256 of the stored image, texts and labels; only if asked for.


class Found(NamedTuple):
    """A good record, and the bad ones that were passed over on the way to it."""

    number: int
    item: Item
    bad: tuple[Bad, ...]


class Items:
    """Decoded records by number; those that were bad are remembered, good ones if `cache` is set.

    Args:
      source: Where records come from.
      config: Cleaning, limits, and whether to keep decoded records in memory.
      upright: Give RGB pictures, otherwise in the mode that they are stored in.
      least: Pixels a side that a JPEG keeps at least; 0 decodes it at full size.
      other_captions: Whether an item knows the captions of other records with the same image.
      hashed: Give the digest of each record.
    """

    def __init__(
        self,
        source: Source,
        config: DataConfig,
        *,
        upright: bool,
        least: int = 0,
        other_captions: bool = False,
        hashed: bool = False,
    ):
        self.source, self._config, self._hashed = source, config, hashed
        self._upright, self._least, self._parts = upright, least, source.parts
        self._other_captions = other_captions
        self._kept: dict[int, Item] = {}
        self._bad: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Item:
        """Raises BadRecord if the record can't be used."""
        item = self._kept.get(index)
        if item is not None:
            return item
        if index in self._bad:
            raise BadRecord(self._bad[index])
        try:
            item = self.decoded(index)
        except BadRecord as bad:
            self._bad[index] = str(bad)
            raise
        if self._config.cache:
            self._kept[index] = item
        return item

    def at_or_after(self, index: int) -> Found:
        """The record, or the next good one of its component, in the order of numbers, in a circle.

        Raises:
          DataError: no record is good.
        """
        bad: list[Bad] = []
        part = next((part for part in self._parts if index in part), range(0))
        for step in range(len(part)):
            number = part[(index - part.start + step) % len(part)]
            try:
                return Found(number, self[number], tuple(bad))
            except BadRecord as error:
                bad.append(Bad(number, self.source.key(number), str(error)))
        reasons = sorted({b.reason for b in bad}) or ["the split is empty"]
        raise DataError(f"{self.source.name} has no record that can be used: {', '.join(reasons)}")

    def decoded(self, index: int) -> Item:
        """The record, read anew and not kept.

        Raises:
          BadRecord: it can't be used.
        """
        record = self.source[index]
        cleaning = self._config.tokenizer.cleaning
        texts = tuple(
            tuple(dict.fromkeys(_shown(clean(text, cleaning) for text in feature)))
            for feature in record.captions
        )
        captions = dict.fromkeys(caption_id(text) for feature in texts for text in feature)
        if not captions:
            raise BadRecord("no caption")
        captions |= dict.fromkeys(self._of_same_image(index))
        image = images.decode(record.image, self._config.max_pixels, self._least)
        if self._upright:
            image = images.rgb(image)
            image.info = {}  # Pillow copies it at every step of an augmentation.
        image_id = images.image_id(record.image)
        digest = record_digest(record) if self._hashed else b""
        sentences = self._sentences(record)
        return Item(image, texts, tuple(captions), record.labels, sentences, image_id, digest)

    def _of_same_image(self, index: int) -> Iterator[int]:
        """Ids of the captions of other records, of as many as a batch has columns for."""
        others = self.source.same_image(index) if self._other_captions else ()
        for other in itertools.islice(others, self._config.max_captions):
            with contextlib.suppress(BadRecord):  # It is named when it is drawn itself.
                for feature in self.source.captions(other):
                    cleaned = (clean(text, self._config.tokenizer.cleaning) for text in feature)
                    yield from (caption_id(text) for text in _shown(cleaned))

    def _sentences(self, record: Record) -> dict[str, tuple[str, ...]]:
        if self._config.caption_sampling == "whole":
            return {}
        cleaning = self._config.tokenizer.cleaning
        found = {}
        for text in (text for feature in record.captions for text in feature):
            # Before cleaning, which may remove the marks between them.
            parts = tuple(_shown(clean(s, cleaning) for s in sentences(text)))
            if len(parts) > 1:
                found[clean(text, cleaning)] = parts
        return found


def record_digest(record: Record) -> bytes:
    """SHA-256 of what a record says, wherever it is stored: image, captions and labels."""
    texts = json.dumps([record.captions, record.labels]).encode()
    digest = hashlib.sha256(f"{len(texts)} ".encode() + texts)
    digest.update(record.image)
    return digest.digest()


def _shown(cleaned: Iterable[str]) -> Iterator[str]:
    return (text for text in cleaned if not is_blank(text))
