"""Training batches as a pure function of (seed, config, data, step).

`order` gives the record at each position: a permutation for each epoch. The batch is the unit
of its transforms, so that its cost for each record is that of an index. All other chance comes from
one generator for each global batch, keyed by (seed, step), of which a process takes its rows.
"""

import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags

from prolip.config import DataConfig
from prolip.data import augment, captions
from prolip.data.items import Found, Items
from prolip.data.order import sample_order
from prolip.data.quarantine import Quarantine
from prolip.data.records import Bad, BadRecord, Batch, DataError
from prolip.data.sources.choose import open_train
from prolip.data.sources.mixture import Mixture
from prolip.data.sources.source import Source
from prolip.data.statistics import spread
from prolip.data.text import cached_by_text, is_json
from prolip.data.tokenizer import Tokenizer, make_tokenizer

NUM_DRAWS = captions.NUM_DRAWS + augment.NUM_DRAWS
TOKENIZER_RECORDS = 500_000
LOOKED_AT = 200  # Records, for odd captions.


class TrainPipeline:
    """Endless batches of the training split.

    Args:
      config: Data set, captions, augmentation, readers.
      image_size: Pixels a side.
      tokenizer: For captions.
      global_batch: Rows of a batch over all processes.
      rows: (start, count) of those of this process; count divides global_batch and start.
      seed: Of order and chance.

    Attributes:
      quarantine: Account of the records that could not be used, up to the last batch given.

    Raises:
      DataError: the data set, its features or the options can't be used.
    """

    def __init__(
        self,
        config: DataConfig,
        image_size: int,
        tokenizer: Tokenizer,
        global_batch: int,
        rows: tuple[int, int] | None = None,
        seed: int = 0,
    ):
        captions.check(config)
        start, count = rows or (0, global_batch)
        if count < 1 or global_batch % count or start % count or start >= global_batch:
            raise DataError(f"rows {start} to {start + count} are no even part of {global_batch}")
        self._config, self._global_batch, self._seed = config, global_batch, seed
        self._shard, self._shards = start // count, global_batch // count
        self._source = open_train(config)
        if not len(self._source):
            raise DataError(f"split {config.train_split!r} of {config.name} is empty")
        self._load = _Load(config, image_size, tokenizer, global_batch, start, seed, self._source)
        self._tokenizer = tokenizer
        self._image_size = image_size
        self.quarantine = Quarantine(config.max_bad_fraction, self._source.damage)

    @property
    def num_records(self) -> int:
        """Records of the split, or of all components: the samples of an epoch."""
        return len(self._source)

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on what the source leaves out, and on odd captions."""
        return [*self._source.notes, *caption_notes(self._source, self._tokenizer)]

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What must agree for a run to go on with the same batches; JSON values."""
        config = self._config
        added: dict[str, Any] = {}  # Only where it is used: what was begun before goes on.
        if config.filter:
            added["filter"] = config.filter
        if config.caption_sampling != "whole":
            added["caption_sampling"] = [config.caption_sampling, config.caption_whole]
        if config.form != "exact":
            added["image_form"] = config.form
        return added | {
            **self._source.describe(),
            "split": "" if config.mixture else config.train_split,
            "image_feature": config.image_feature,
            "caption_features": list(config.caption_features),
            "caption_weights": list(config.caption_weights),
            "caption_templates": list(config.caption_templates),
            "max_captions": config.max_captions,
            "augment": json.loads(json.dumps(dataclasses.asdict(config.augment))),
            "max_pixels": config.max_pixels,
            "image_size": self._image_size,
            "tokenizer": self._tokenizer.digest(),
            "global_batch": self._global_batch,
            "seed": self._seed,
        }

    def batches(self, start_step: int = 0, samples: int | None = None) -> Iterator[Batch]:
        """Batches from a step on; close the iterator to stop the readers.

        Args:
          start_step: Steps done, which key the chance of the next ones.
          samples: Samples that were seen in them, after which the order of records goes on; by
            default those of `start_step` batches of the present size.

        Raises:
          DataError: while iterating, if more than `max_bad_fraction` of the records are bad.
        """
        workers = self._config.num_workers
        samples = start_step * self._global_batch if samples is None else samples
        iterator = iter(self._dataset(start_step, samples))
        try:
            for loaded in iterator:
                if loaded.error is not None:
                    raise loaded.error
                self.quarantine.add(len(loaded.batch.index), loaded.bad)
                # Copied out of the memory that Grain shares with reader processes.
                yield Batch(*map(np.array, loaded.batch)) if workers else loaded.batch
        finally:
            iterator.close()

    def _dataset(self, start_step: int, samples: int) -> grain.IterDataset:
        config = self._config
        source = self._source
        shares = source.weights if isinstance(source, Mixture) else (1.0,)
        order = sample_order(source.parts, shares, self._seed)
        count = self._global_batch // self._shards
        parts = order[samples:].batch(count, drop_remainder=True, batch_fn=_array)
        load = functools.partial(_load_from, self._load, start_step)
        own = parts[self._shard :: self._shards].map_with_index(load)
        options = grain.ReadOptions(max(1, config.num_threads), max(1, config.prefetch))
        data = own.to_iter_dataset(options)
        if config.num_workers:
            if not flags.FLAGS.is_parsed():  # Grain's processes ask for flags.
                flags.FLAGS.mark_as_parsed()
            data = data.mp_prefetch(grain.MultiprocessingOptions(num_workers=config.num_workers))
        return data


def _load_from(load: "_Load", start_step: int, steps: int, numbers: np.ndarray) -> "_Loaded":
    return load(start_step + steps, numbers)


class _Loaded(NamedTuple):
    """A batch, or why there is none: an exception inside Grain would stop it without a word."""

    batch: Batch | None
    bad: tuple[Bad, ...]  # In the order of the rows.
    error: Exception | None = None


class _Load:
    """From (step, record numbers of this process) to its rows of the batch."""

    def __init__(
        self,
        config: DataConfig,
        image_size: int,
        tokenizer: Tokenizer,
        global_batch: int,
        start: int,
        seed: int,
        source: Source,
    ):
        self._config, self._size, self._tokenizer = config, image_size, tokenizer
        self._global_batch, self._start, self._seed = global_batch, start, seed
        least = math.ceil(image_size / math.sqrt(min(config.augment.crop_scale)))
        upright = config.form == "exact"
        self._items = Items(source, config, upright=upright, least=least, other_captions=True)
        self._tokens = cached_by_text(self._tokenize)

    def __call__(self, step: int, numbers: np.ndarray) -> _Loaded:
        try:
            found = [self._items.at_or_after(int(number)) for number in numbers]
            batch = self._batch(found, self._draws(step, len(numbers)))
            return _Loaded(batch, tuple(bad for record in found for bad in record.bad))
        except Exception as error:
            return _Loaded(None, (), error)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self._config, self._size, self._tokenizer, self._global_batch, self._start)
        return _Load, (*arguments, self._seed, self._items.source)

    def _draws(self, step: int, count: int) -> np.ndarray:
        """This process's rows of the uniform numbers of the global batch."""
        key = np.array([self._seed % 2**64, step], np.uint64)
        draws = _uniform(np.random.Philox(key=key), self._global_batch, NUM_DRAWS)
        if self._config.caption_sampling != "whole":
            # Of another stream: the other draws are the same with and without.
            stream = np.random.Philox(key=key, counter=[0, 0, 0, 1])
            more = _uniform(stream, self._global_batch, captions.SENTENCE_DRAWS)
            draws = np.concatenate([draws, more], 1)
        return draws[self._start : self._start + count]

    def _batch(self, found: Sequence[Found], draws: np.ndarray) -> Batch:
        config = self._config
        chances = draws[:, : captions.NUM_DRAWS].tolist()
        more = draws[:, NUM_DRAWS:].tolist()
        drawn = [
            captions.draw(record.item, config, chance, sentence)
            for record, chance, sentence in zip(found, chances, more, strict=True)
        ]
        images = [record.item.image for record in found]
        return Batch(
            image=augment.augment(
                images, self._size, config.augment, draws[:, captions.NUM_DRAWS : NUM_DRAWS]
            ),
            text=np.stack([self._tokens(caption.text) for caption in drawn]),
            caption=_array([caption.caption for caption in drawn]),
            captions=np.stack([caption.captions for caption in drawn]),
            index=_array([record.number for record in found]),
            image_id=np.stack([np.frombuffer(r.item.image_id, "<i4") for r in found]),
        )

    def _tokenize(self, text: str) -> np.ndarray:
        return self._tokenizer([text])[0]


def train_tokenizer(config: DataConfig, length: int) -> Tokenizer:
    """The tokenizer of a config; the kind "train" reads captions of the training split.

    Of a large one `TOKENIZER_RECORDS`, evenly spread: more change few of its entries.
    """
    texts: list[str] = []
    if config.tokenizer.kind == "train":
        source = open_train(config)
        texts = [template.replace("{}", " ") for template in config.caption_templates]
        for index in spread(len(source), TOKENIZER_RECORDS):
            with contextlib.suppress(BadRecord):
                texts += (text for feature in source[index].captions for text in feature)
    return make_tokenizer(config.tokenizer, length, texts)


def caption_notes(source: Source, tokenizer: Tokenizer) -> list[str]:
    """Sentences on captions that are trained otherwise than they read, if there are any.

    Looks at the captions of `LOOKED_AT` records, evenly spread.
    """
    texts: list[str] = []
    for index in spread(len(source), LOOKED_AT):
        with contextlib.suppress(BadRecord):
            texts += (text for feature in source.captions(index) for text in feature)
    unknown = int(tokenizer.has_unknown(tokenizer(texts)).sum())
    documents = sum(map(is_json, texts))
    notes = []
    if unknown:
        notes.append(
            f"{unknown:,} of {len(texts):,} captions looked at have letters that the tokenizer "
            "can't spell: they become its unknown token. Another vocabulary may know them"
        )
    if documents:
        notes.append(
            f"{documents:,} of {len(texts):,} captions looked at are JSON, which is trained as it "
            "is, with its braces and names: name the field in data.caption_features "
            "(json/caption), or put the captions into a column of their own"
        )
    return notes


def _uniform(stream: np.random.Philox, rows: int, columns: int) -> np.ndarray:
    return np.random.Generator(stream).random((rows, columns))


def _array(numbers: Sequence[int]) -> np.ndarray:
    return np.asarray(numbers, np.int32)
