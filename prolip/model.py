"""A trained model to embed with, on all devices of this process."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from prolip import sharding
from prolip.checkpoint import CheckpointError, CheckpointStore
from prolip.config import DType, MeshConfig, ModelConfig, TrainConfig, from_dict
from prolip.data.image import Preprocessing, decode, inference_image, normalize
from prolip.data.tokenizer import SPEC, Tokenizer, load_tokenizer
from prolip.gaussian import Gaussian
from prolip.interop import hub, hub_download
from prolip.interop.errors import SourceError
from prolip.models import two_tower
from prolip.workdir import Workdir

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
            here; or one float32 array [N, H, W, 3] of the model's size, taken as preprocessed.
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

        def load(rows: slice) -> np.ndarray:
            pixels = [self._open(x, rows.start + i) for i, x in enumerate(images[rows])]
            return np.stack(pixels)

        return self._batched(self._pixels, load, len(images), batch_size)

    def encode_text(
        self, texts: Sequence[str] | np.ndarray | jax.Array, batch_size: int = 256
    ) -> Gaussian:
        """Embeds texts.

        Args:
          texts: strings, cleaned and tokenised here, or integer ids [N, L].
          batch_size: texts embedded at a time.

        Returns:
          Gaussian, float32 [N, D].

        Raises:
          ValueError: one string in the place of a list of them, or ids of another shape or out of
            the vocabulary.
        """
        if isinstance(texts, str):
            raise ValueError("encode_text takes a list of strings: write [text]")
        if isinstance(texts, np.ndarray | jax.Array):
            ids = np.asarray(texts)
        else:
            ids = self.tokenizer(list(texts))
        length = self.config.text.length
        if ids.ndim != 2 or ids.shape[1] > length or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"token ids are integers [N, at most {length}]; got {ids.dtype} {list(ids.shape)}"
            )
        if ids.size and not 0 <= ids.min() <= ids.max() < self.config.text.vocab_size:
            raise ValueError(f"token ids must be in 0 ... {self.config.text.vocab_size - 1}")
        ids = ids.astype(np.int32)
        return self._batched(self._text, lambda rows: ids[rows], len(ids), batch_size)

    def image(self, images: np.ndarray) -> Gaussian:
        """UInt8 [B, H, W, 3] of the model's size to float32 NumPy arrays: what evaluators call."""
        return self._run(self._pixels, images, len(images))

    def text(self, ids: np.ndarray) -> Gaussian:
        """Int32 [B, L] to float32 NumPy arrays: what evaluators call."""
        return self._run(self._text, ids, len(ids))

    def _open(self, image: ImageInput, position: int) -> np.ndarray:
        try:
            if isinstance(image, str | Path):
                image = decode(Path(image).read_bytes(), MAX_PIXELS)
            elif not isinstance(image, Image.Image):
                image = Image.fromarray(np.asarray(image))
            return inference_image(image, self.preprocessing.image_size, self.preprocessing.form)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"image {position} can't be read: {error}") from error

    def _batched(
        self, f: Callable, load: Callable[[slice], np.ndarray], num: int, batch_size: int
    ) -> Gaussian:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if num == 0:
            empty = jnp.zeros((0, self.config.embed_dim))
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


def _computing_in(config: ModelConfig, dtype: DType | None) -> ModelConfig:
    return config if dtype is None else dataclasses.replace(config, dtype=dtype)


def _place(params: Any, abstract: Any) -> Any:
    """Host arrays to the layout of `abstract`; each leaves the host as soon as it is placed."""
    if isinstance(params, dict):
        return {key: _place(params.pop(key), abstract[key]) for key in sorted(params)}
    return jax.device_put(params, abstract.sharding)


def _architecture(config: ModelConfig) -> str:
    """What the parameters mean; not what only decides how they are computed or initialised."""
    values = dataclasses.asdict(config)
    ways = ("dtype", "remat", "unroll", "logit_scale_init", "logit_bias_init", "log_var_init")
    return json.dumps({k: v for k, v in values.items() if k not in ways}, sort_keys=True)


@functools.lru_cache(maxsize=8)
def _functions(config: ModelConfig, preprocessing: Preprocessing) -> tuple[Callable, ...]:
    """Jitted towers; shared by all steps of a run, so that an evaluator compiles them once."""
    model = two_tower.build(config)

    def pixels(params: two_tower.Params, images: jax.Array) -> Gaussian:
        return model.image(params, normalize(images, preprocessing.mean, preprocessing.std))

    return jax.jit(model.image), jax.jit(pixels), jax.jit(model.text)


def load(source: str | Path, step: int | None = None, *, dtype: DType | None = None) -> Model:
    """Loads a model onto the local devices.

    Args:
      source: a workdir, its `checkpoints` folder or one step in it; a directory with `config.json`
        and `model.safetensors` as published on the Hub; or a Hub id, "owner/name[@revision]".
      step: which checkpoint of a workdir; None takes the newest one that verifies.
      dtype: what the towers compute in; None takes that of the checkpoint. Embeddings are float32.

    Raises:
      CheckpointError: there is no such checkpoint, or it is damaged.
      SourceError: a directory or Hub id that can't be read; the message says what is wrong with it.
    """
    path = Path(source).expanduser()
    if path.is_file():
        hub.refuse_pickles(path)
        raise SourceError(f"{path} is a file; give the directory that it is in")
    if hub.is_hub_layout(path):
        published, found = hub.read(path, fetch=hub_download.cached), str(path.resolve())
    elif path.is_dir():
        return _load_checkpoint(path, step, dtype)
    # A slip in "runs/demo" is no Hub id where there is a folder "runs".
    elif hub_download.looks_like_id(str(source)) and not path.parent.is_dir():
        found = str(source)
        published = hub.read(hub_download.download(found), fetch=hub_download.fetch)
    else:
        raise CheckpointError(f"{path} does not exist")
    if step is not None:
        raise SourceError(f"{source} is a published checkpoint: it has no step {step}")
    return from_published(published, dtype, found)


def from_published(published: hub.Published, dtype: DType | None = None, source: str = "") -> Model:
    """A model from what a directory in the Hub's layout holds; takes over its parameters."""
    config = _computing_in(published.config, dtype)
    mesh = sharding.make_mesh(MeshConfig(), jax.local_devices())
    params = _place(published.params, _abstract_params(config, mesh))
    return Model(
        config,
        params,
        published.tokenizer,
        published.preprocessing,
        mesh,
        no_tokenizer=published.no_tokenizer,
        hub=published.hub,
        source=source,
    )


def _load_checkpoint(path: Path, step: int | None, dtype: DType | None) -> Model:
    if step is None and path.name.isdigit() and path.parent.name == "checkpoints":
        path, step = path.parent, int(path.name)
    directory = Workdir(path).checkpoints if Workdir(path).checkpoints.is_dir() else path
    with CheckpointStore(directory, write=False) as store:
        chosen = store.latest() if step is None else step
        if chosen is None:
            hub.refuse_pickles(path)
            raise CheckpointError(f"{path} has no checkpoint")
        return load_step(store, chosen, dtype)


def load_step(store: CheckpointStore, step: int, dtype: DType | None = None) -> Model:
    """Loads one step of an open store: parameters alone, verified, onto all local devices."""
    with store.read_lease(step):
        assets = store.assets(step)
        config = from_dict(TrainConfig, json.loads(assets["config.json"])).model
        config = _computing_in(config, dtype)
        preprocessing = Preprocessing.from_dict(json.loads(assets["preprocessing.json"]))
        mesh = sharding.make_mesh(MeshConfig(), jax.local_devices())
        params = store.restore(step, "params", _abstract_params(config, mesh))
    tokenizer = load_tokenizer(assets) if SPEC in assets else None
    return Model(
        config,
        params,
        tokenizer,
        preprocessing,
        mesh,
        no_tokenizer="" if tokenizer else f"checkpoint {step} was made without a tokenizer",
        hub=json.loads(assets[HUB_ASSET]) if HUB_ASSET in assets else None,
        source=str(store.directory / str(step)),
    )


def _abstract_params(config: ModelConfig, mesh: jax.sharding.Mesh) -> Any:
    model = two_tower.build(config)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        shapes = jax.eval_shape(functools.partial(_init, model))
    return sharding.abstract(shapes, mesh)


def _init(model: two_tower.TwoTower) -> Any:
    return model.init(jax.random.key(0))
