"""Embeds an evaluation split with the model of one checkpoint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import jax
import numpy as np

from prolip.config import EvalConfig
from prolip.evals import masked
from prolip.evals.context import ONE_SLOT, Context, joined
from prolip.evals.metrics import blocks
from prolip.evals.together import gather_batches
from prolip.gaussian import Gaussian
from prolip.watchdog import Alive, unwatched


class Encoder(Protocol):
    """A model on its devices; it fills up a batch that is too small for them itself."""

    def image(self, images: np.ndarray) -> Gaussian:
        """uint8 [batch, height, width, 3] -> float32 NumPy arrays [batch, dim]."""

    def text(self, ids: np.ndarray) -> Gaussian:
        """int32 [batch, length] -> float32 NumPy arrays [batch, dim]."""


class Caption(Protocol):
    """A text and the feature that it comes from."""

    @property
    def text(self) -> str: ...

    @property
    def level(self) -> str: ...


class Images(Protocol):
    """Images in order."""

    def images(self, batch: int, part: tuple[int, int] = (0, 1)) -> Iterator[np.ndarray]:
        """Batches of uint8 [at most batch, height, width, 3]; each nth from the ith by `part`."""


class Split(Images, Protocol):
    """The records of an evaluation split, in order."""

    @property
    def captions(self) -> Sequence[Caption]:
        """Distinct texts."""

    @property
    def positives(self) -> Sequence[np.ndarray]:
        """For each caption the indices of the images that it matches."""

    @property
    def labels(self) -> Mapping[str, Sequence[str]]:
        """For each label feature one class name an image; "" where there is none."""


def embed(
    split: Split,
    encoder: Encoder,
    tokenize: Callable[[list[str]], np.ndarray],
    config: EvalConfig,
) -> Context:
    """What the evaluators get: all images and captions of a split as Gaussians.

    Of several processes, which all call this, each embeds its batches of the images.

    Raises:
      ValueError: an embedding is not a number; the first such item is named.
    """
    captions = [caption.text for caption in split.captions]

    def encode_text(texts: Sequence[str]) -> Gaussian:
        return embed_texts(texts, encoder, tokenize, config.batch)

    # Some records of a split may be left out: rows are not their numbers.
    names = [f"record {number}" for number in getattr(split, "records", ())]
    images = embed_images(split, encoder, config.batch, names=names)
    return Context(
        images=images,
        texts=encode_text(captions),
        captions=captions,
        levels=[caption.level for caption in split.captions],
        positives=split.positives,
        labels=split.labels,
        encode_text=encode_text,
        config=config,
        logit_scale=getattr(encoder, "logit_scale", None),
        logit_bias=getattr(encoder, "logit_bias", None),
        masked=masked.maker(split, encoder, tokenize, captions, len(images.mean), config.batch),
        slots=getattr(encoder, "slots", ONE_SLOT),
    )


def tiny_pictures(split: Images, batch: int, size: int = 8) -> np.ndarray:
    """Float32 [images, size * size * 3]: every picture shrunk by the means of its parts."""

    def shrunk(images: np.ndarray) -> np.ndarray:
        count, part = len(images), max(1, min(images.shape[1:3]) // size)
        side = min(size, images.shape[1], images.shape[2])
        cut = images[:, : side * part, : side * part].astype(np.float32)
        return cut.reshape(count, side, part, side, part, 3).mean((2, 4)).reshape(count, -1)

    return np.concatenate([shrunk(images) for images in split.images(batch)])


def embed_texts(
    texts: Sequence[str],
    encoder: Encoder,
    tokenize: Callable[[list[str]], np.ndarray],
    batch: int,
) -> Gaussian:
    """Texts as float32 [texts, dim], a batch at a time.

    Raises:
      ValueError: an embedding is not a number; the first such text is named.
    """
    rows = blocks(len(texts), batch)
    batches = (encoder.text(tokenize(list(texts[block]))) for block in rows)
    return _checked(joined(batches), "text", texts)


def embed_images(
    split: Images,
    encoder: Encoder,
    batch: int,
    alive: Alive = unwatched,
    names: Sequence[str] = (),
) -> Gaussian:
    """Images as float32 [images, dim] on every process; of several, each embeds its batches.

    Args:
      split: what is embedded.
      encoder: of one checkpoint.
      batch: images of a batch.
      alive: told before each batch, for a watchdog.
      names: of the images in errors; without them their numbers.

    Raises:
      ValueError: an embedding is not a number, or another process could not embed its part.
    """

    def encode(batches: Iterator[np.ndarray]) -> Iterator[Gaussian]:
        for images in batches:
            alive("a batch of images")
            yield encoder.image(images)

    count = jax.process_count()
    if count == 1:
        return _checked(joined(encode(split.images(batch))), "image", names)
    # Whole batches, so that each is computed as in one process.
    mine = split.images(batch, (jax.process_index(), count))
    return _checked(gather_batches(lambda: list(encode(mine)), batch), "image", names)


def _checked(gaussian: Gaussian, kind: str, names: Sequence[str] = ()) -> Gaussian:
    # A log-variance of minus infinity is zero variance.
    mean, log_var = np.asarray(gaussian.mean), np.asarray(gaussian.log_var)
    good: np.ndarray = np.isfinite(mean).all(-1) & (log_var < np.inf).all(-1)
    if not good.all():
        row = int(np.argmin(good))
        name = f"{names[row]!r} (row {row})" if len(names) else row
        raise ValueError(
            f"the model gives no number for {kind} {name} "
            f"({int((~good).sum())} of {len(good)}): this checkpoint has diverged"
        )
    return gaussian
