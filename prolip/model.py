"""A trained model to embed with, on all devices of this process.

Long because the public class has all ways of encoding, with what each refuses.
"""

import copy
import dataclasses
import functools
import hashlib
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from prolip import sharding
from prolip.config import ModelConfig, SlotsConfig
from prolip.data.image import (
    Form,
    Preprocessing,
    decode,
    departure,
    departures_sentence,
    inference_image,
    normalize,
)
from prolip.data.text import as_texts, clean, is_blank
from prolip.data.tokenizer import Tokenizer
from prolip.gaussian import Gaussian
from prolip.interop.errors import SourceError
from prolip.models import two_tower

log = logging.getLogger(__name__)

ImageInput = str | Path | Image.Image | np.ndarray
HUB_ASSET = "hub_config.json"  # Of a checkpoint that was converted: its config.json.
MAX_PIXELS = 50_000_000  # Of an image file; a larger one is refused from its header.


class Model:
    """Two towers with their parameters, tokenizer and preprocessing.

    Batches are filled up to one size, so that ragged input compiles once for each tower.
    """

    def __init__(
        self,
        config: ModelConfig,
        params: two_tower.Params,
        tokenizer: Tokenizer | None,
        preprocessing: Preprocessing,
        mesh: jax.sharding.Mesh,
        *,
        no_tokenizer: str = "this model has no tokenizer",
        hub: dict[str, Any] | None = None,
        source: str = "",
    ):
        """Keeps what it is given; `load` is the way to make one.

        Args:
          config: of the towers.
          params: laid out on `mesh`.
          tokenizer: None for a model that takes token ids only.
          preprocessing: of images.
          mesh: of local devices.
          no_tokenizer: why there is no tokenizer, for those who ask for it.
          hub: the config.json that it was published with, if it was.
          source: what `load` finds the same model by, from anywhere.
        """
        self.config, self.preprocessing = config, preprocessing
        self.hub, self.source = hub, source
        self._tokenizer, self._no_tokenizer = tokenizer, no_tokenizer
        self._params, self._mesh = params, mesh
        self._image, self._pixels, self._text = _functions(config, preprocessing)

    def with_image_form(self, form: Form) -> "Model":
        """Returns this model with another way of reading images: "exact" or "released"."""
        changed = copy.copy(self)
        changed.preprocessing = dataclasses.replace(self.preprocessing, form=form)
        changed.__dict__.pop("identity", None)
        return changed

    @property
    def tokenizer(self) -> Tokenizer:
        """Cleans texts and gives their ids.

        Raises:
          SourceError: there is none; says where to get it.
        """
        if self._tokenizer is None:
            raise SourceError(self._no_tokenizer)
        return self._tokenizer

    @property
    def has_tokenizer(self) -> bool:
        """Whether texts can be given as strings."""
        return self._tokenizer is not None

    @property
    def params(self) -> two_tower.Params:
        """Nested dictionary of float32 arrays, on the devices of this process."""
        return self._params

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """Hashes that tell whether two embeddings come from the same model, however it is stored.

        `weights`: SHA-256 of architecture and parameters (not of the dtype that is computed in);
        `tokenizer`: of its files, "" without one; `preprocessing`: of images, as JSON.
        """
        digest = hashlib.sha256(_architecture(self.config).encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(self._params):
            value = np.asarray(jax.device_get(leaf))
            digest.update(f"{jax.tree_util.keystr(path)} {value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return {
            "weights": digest.hexdigest(),
            "tokenizer": self._tokenizer.digest() if self._tokenizer else "",
            "preprocessing": json.dumps(self.preprocessing.to_dict()),
        }

    @property
    def slots(self) -> SlotsConfig:
        """How many unit vectors each embedding is made of, and how sets of them compare."""
        return self.config.slots

    @property
    def logit_scale(self) -> float:
        """The applied scale of the training loss."""
        return float(np.exp(jax.device_get(self._params["log_logit_scale"])))

    @property
    def logit_bias(self) -> float:
        """The bias of the training loss."""
        return float(jax.device_get(self._params["logit_bias"]))

    def encode_image(
        self, images: Sequence[ImageInput] | np.ndarray, batch_size: int = 64
    ) -> Gaussian:
        """Embeds images.

        Args:
          images: paths, PIL images or uint8 arrays [H, W, 3] of any size, which are preprocessed
            here; or one float32 array [N, H, W, 3] of the model's size, taken as preprocessed. A
            warning counts those that the released preprocessing reads otherwise than a viewer.
          batch_size: images embedded at a time.

        Returns:
          Gaussian, float32 [N, D].

        Raises:
          ValueError: one image in the place of a list of them, or an image can't be read or has the
            wrong shape; its position is named.
        """
        size = self.preprocessing.image_size
        if isinstance(images, str | Path | Image.Image) or getattr(images, "ndim", 4) == 3:
            raise ValueError("encode_image takes several images: write [image]")
        if isinstance(images, np.ndarray | jax.Array) and images.dtype != np.uint8:
            if images.shape[1:] != (size, size, 3) or images.dtype != np.float32:
                raise ValueError(
                    f"preprocessed images are float32 [N, {size}, {size}, 3]; "
                    f"got {images.dtype} {list(images.shape)}"
                )
            return self._batched(self._image, lambda i: images[i], len(images), batch_size)

        departed = Counter[str]()

        def load(rows: slice) -> np.ndarray:
            pixels = []
            for position, image in enumerate(images[rows], rows.start):
                row, reason = self._open(image, position)
                pixels.append(row)
                departed.update([reason] if reason else [])
            return np.stack(pixels)

        gaussian = self._batched(self._pixels, load, len(images), batch_size)
        if departed:
            remedy = "prolip.load(..., image_form='exact') reads them as shown"
            warnings.warn(departures_sentence(departed, len(images), remedy), stacklevel=2)
        return gaussian

    def encode_text(
        self, texts: Sequence[str] | np.ndarray | jax.Array, batch_size: int = 256
    ) -> Gaussian:
        """Embeds texts.

        Args:
          texts: strings, cleaned and tokenised here, or integer ids [N, L]. Warnings count those
            with letters that the tokenizer can't spell, and those that are empty after cleaning.
          batch_size: texts embedded at a time.

        Returns:
          Gaussian, float32 [N, D].

        Raises:
          ValueError: one string instead of a list of them, a text that is not a string (the
            message has its position), or ids of another shape or out of the vocabulary.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise ValueError("encode_text takes a list of strings: write [text]")
        if isinstance(texts, np.ndarray | jax.Array) and texts.dtype.kind not in "OTU":
            ids = np.asarray(texts)
        else:
            ids = self._ids(as_texts(texts))
        length = self.config.text.length
        if ids.ndim != 2 or ids.shape[1] > length or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"token ids are integers [N, at most {length}]; got {ids.dtype} {list(ids.shape)}"
            )
        if ids.size and not 0 <= ids.min() <= ids.max() < self.config.text.vocab_size:
            raise ValueError(f"token ids must be in 0 ... {self.config.text.vocab_size - 1}")
        ids = ids.astype(np.int32)
        return self._batched(self._text, lambda rows: ids[rows], len(ids), batch_size)

    def _ids(self, texts: list[str]) -> np.ndarray:
        cleaning = self.tokenizer.cleaning
        blank = [i for i, text in enumerate(texts) if is_blank(clean(text, cleaning))]
        if blank and texts != [""]:  # Which is asked for on purpose, as the root of a hierarchy.
            log.warning(
                "%d of %d texts, such as text %d (%s), are empty after cleaning (%s): they are "
                "embedded as the empty text",
                *(len(blank), len(texts), blank[0], ascii(texts[blank[0]])[:40], cleaning),
            )
        ids = self.tokenizer(texts)
        if lost := int(self.tokenizer.has_unknown(ids).sum()):
            log.warning(
                "%d of %d texts have letters that the tokenizer can't spell: they are embedded as "
                "its unknown token",
                *(lost, len(texts)),
            )
        return ids

    def image(self, images: np.ndarray) -> Gaussian:
        """UInt8 [B, H, W, 3] of the model's size to float32 NumPy arrays: what evaluators call."""
        return self._run(self._pixels, images, len(images))

    @property
    def num_patches(self) -> int:
        """Of an image."""
        return (self.config.image.image_size // self.config.image.patch) ** 2

    def masked_image(self, images: np.ndarray, keep: np.ndarray) -> Gaussian:
        """As `image`, of images of which only some patches are seen.

        Args:
          images: UInt8 [B, H, W, 3] of the model's size.
          keep: Int32 [kept], their numbers in order, row by row of the image.
        """
        return self._run(functools.partial(self._pixels, keep=keep), images, len(images))

    def text(self, ids: np.ndarray) -> Gaussian:
        """Int32 [B, L] to float32 NumPy arrays: what evaluators call."""
        return self._run(self._text, ids, len(ids))

    def _open(self, image: ImageInput, position: int) -> tuple[np.ndarray, str]:
        """Pixels, and how they depart from what a viewer shows."""
        size, form = self.preprocessing.image_size, self.preprocessing.form
        try:
            if isinstance(image, str | Path):
                opened = decode(Path(image).read_bytes(), MAX_PIXELS)
            elif isinstance(image, Image.Image):
                image.load()
                opened = image
            else:
                opened = Image.fromarray(np.asarray(image))
            departed = departure(opened) if form == "released" else ""
            return inference_image(opened, size, form), departed
        except (OSError, ValueError, TypeError) as error:
            where = f"{image}: " if isinstance(image, str | Path) else ""
            raise ValueError(f"image {position} can't be read: {where}{error}") from error

    def _batched(
        self, f: Callable, load: Callable[[slice], np.ndarray], num: int, batch_size: int
    ) -> Gaussian:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if num == 0:
            empty = jnp.zeros((0, self.config.dim))
            return Gaussian(empty, empty)
        size = min(batch_size, num)
        parts = [self._run(f, load(slice(i, i + size)), size) for i in range(0, num, size)]
        return Gaussian(*(jnp.asarray(np.concatenate(x)) for x in zip(*parts, strict=True)))

    def _run(self, f: Callable, rows: np.ndarray, size: int) -> Gaussian:
        """Fills up to a size that divides over the devices, and cuts the rest off again."""
        shards = sharding.batch_shards(self._mesh)
        # Powers of two: few shapes, so few compilations, however ragged the input.
        padded = max(shards, 1 << (size - 1).bit_length())
        padded = -(-padded // shards) * shards
        fill = np.zeros((padded - len(rows), *rows.shape[1:]), rows.dtype)
        with jax.set_mesh(self._mesh):
            out = f(self._params, sharding.to_global(self._mesh, np.concatenate([rows, fill])))
        # NumPy on purpose: callers gather many batches before they need a device again.
        host: list[Any] = [np.asarray(x, np.float32)[: len(rows)] for x in out]
        return Gaussian(*host)


def _architecture(config: ModelConfig) -> str:
    """What the parameters mean; not what only decides how they are computed or initialised."""
    values = dataclasses.asdict(config)
    kept = {k: v for k, v in values.items() if k not in two_tower.FREE}
    # How sets are compared is no part of an embedding, and one slot is a point as ever.
    kept |= {"slots": config.slots.count}
    if config.slots.count == 1:
        del kept["slots"]
    return json.dumps(kept, sort_keys=True)


@functools.lru_cache(maxsize=8)
def _functions(config: ModelConfig, preprocessing: Preprocessing) -> tuple[Callable, ...]:
    """Jitted towers; shared by all steps of a run, so that an evaluator compiles them once."""
    # Without a backward pass the other kernel saves little, and this one runs on all devices.
    model = two_tower.build(dataclasses.replace(config, attention="einsum"))

    def pixels(
        params: two_tower.Params, images: jax.Array, keep: jax.Array | None = None
    ) -> Gaussian:
        images = normalize(images, preprocessing.mean, preprocessing.std)
        return model.image(params, images, keep)

    return jax.jit(model.image), jax.jit(pixels), jax.jit(model.text)
