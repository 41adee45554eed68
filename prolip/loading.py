"""Models from wherever they are: a workdir, a directory in the Hub's layout, or a Hub id."""

import dataclasses
import logging
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from prolip import sharding
from prolip.checkpoint import CheckpointError, CheckpointStore
from prolip.config import DType, MeshConfig, ModelConfig, TrainConfig, from_dict
from prolip.data.image import Form, Preprocessing
from prolip.data.tokenizer import SPEC, load_tokenizer
from prolip.interop import hub, hub_download, other_layouts
from prolip.interop.errors import SourceError
from prolip.model import Model
from prolip.models import two_tower
from prolip.models.limits import check_sizes
from prolip.regular_files import UnreadableError, parse_object
from prolip.workdir import Workdir

log = logging.getLogger(__name__)

CONFIG_ASSET, PREPROCESSING_ASSET = "config.json", "preprocessing.json"
HUB_ASSET = "hub_config.json"  # Of a checkpoint that was converted: its config.json.


def load(
    source: str | Path,
    step: int | None = None,
    *,
    dtype: DType | None = None,
    image_form: Form | None = None,
) -> Model:
    """Loads a model onto the local devices.

    Args:
      source: a workdir, its `checkpoints` folder or one step in it; a directory with `config.json`
        and `model.safetensors` as published on the Hub; or a Hub id, "owner/name[@revision]".
      step: which checkpoint of a workdir; None takes the newest one that verifies.
      dtype: what the towers compute in; None takes that of the checkpoint. Embeddings are float32.
      image_form: how images are read: "exact" as a viewer shows them; "released" as the published
        code does, without EXIF rotation and transparency. None takes that of the checkpoint, which
        is "released" for published ones.

    Raises:
      CheckpointError: there is no such checkpoint, or it is damaged.
      SourceError: a directory or Hub id that can't be read; the message says what is wrong with it.
    """
    if image_form not in (None, *typing.get_args(Form)):
        known = ", ".join(typing.get_args(Form))
        raise ValueError(f"image_form is one of {known}; got {image_form!r}")
    directory, is_published = _directory(source)
    if not is_published:
        model = _load_checkpoint(directory, step, dtype)
    elif step is not None:
        raise SourceError(f"{source} is a published checkpoint: it has no step {step}")
    elif directory == Path(source).expanduser():
        published = hub.read(directory, fetch=hub_download.cached)
        model = from_published(published, dtype, str(directory.resolve()))
    else:
        published = hub.read(directory, fetch=hub_download.fetch)
        model = from_published(published, dtype, str(source))
    return model if image_form is None else model.with_image_form(image_form)


def preprocessing_of(source: str | Path) -> Preprocessing:
    """Preprocessing of the model that `load` would give, without reading its weights.

    Raises:
      CheckpointError, SourceError: as `load`.
    """
    directory, is_published = _directory(source)
    if is_published:
        return hub.read_preprocessing(directory)
    store, step = _checkpoint(directory, None)
    with store, store.read_lease(step):
        return Preprocessing.from_dict(_object(store.assets(step), PREPROCESSING_ASSET))


def _directory(source: str | Path) -> tuple[Path, bool]:
    """Where a model is, downloaded if need be, and whether in the Hub's layout."""
    path = Path(source).expanduser()
    if path.is_file():
        hub.refuse_pickles(path)
        raise SourceError(f"{path} is a file; give the directory that it is in")
    if hub.is_hub_layout(path):
        return path, True
    if path.is_dir():
        return path, False
    # A slip in "runs/demo" is no Hub id where there is a folder "runs".
    if hub_download.looks_like_id(str(source)) and not path.parent.is_dir():
        return hub_download.download(str(source)), True
    raise CheckpointError(f"{path} does not exist")


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
    store, chosen = _checkpoint(path, step)
    with store:
        return load_step(store, chosen, dtype)


def _checkpoint(path: Path, step: int | None) -> tuple[CheckpointStore, int]:
    """The open store of a workdir, its `checkpoints` folder or a step in it, and the step."""
    if step is None and path.name.isdigit() and path.parent.name == "checkpoints":
        path, step = path.parent, int(path.name)
    directory = Workdir(path).checkpoints if Workdir(path).checkpoints.is_dir() else path
    store = CheckpointStore(directory, write=False)
    try:
        chosen = store.latest() if step is None else step
        if chosen is None:
            if described := other_layouts.described(path):
                raise SourceError(described)
            hub.refuse_pickles(path)
            raise CheckpointError(f"{path} has no checkpoint; {other_layouts.contents(path)}")
    except BaseException:
        store.close()
        raise
    return store, chosen


def load_step(store: CheckpointStore, step: int, dtype: DType | None = None) -> Model:
    """Loads one step of an open store: parameters alone, verified, onto all local devices."""
    with store.read_lease(step):
        assets = store.assets(step)
        where = str(store.directory / str(step))
        try:
            values = _object(assets, CONFIG_ASSET)
            config = from_dict(TrainConfig, values, bounds=False).model
            check_sizes(config, lambda field: f"{CONFIG_ASSET}: model.{field}")
            preprocessing = Preprocessing.from_dict(_object(assets, PREPROCESSING_ASSET))
            if preprocessing.image_size != config.image.image_size:
                raise UnreadableError(f"{PREPROCESSING_ASSET}: image_size is not the model's")
            tokenizer = load_tokenizer(assets) if SPEC in assets else None
            published = _object(assets, HUB_ASSET) if HUB_ASSET in assets else None
        except ValueError as error:  # All of these errors are.
            raise CheckpointError(f"{where} can't be loaded: {error}") from error
        config = _computing_in(config, dtype)
        mesh = sharding.make_mesh(MeshConfig(), jax.local_devices())
        params = store.restore(step, "params", _abstract_params(config, mesh))
    if broken := _not_finite(params):
        log.warning("%s: %s not finite, and so are embeddings", where, broken)
    return Model(
        config,
        params,
        tokenizer,
        preprocessing,
        mesh,
        no_tokenizer="" if tokenizer else f"checkpoint {step} was made without a tokenizer",
        hub=published,
        source=where,
    )


def _object(assets: Mapping[str, bytes], name: str) -> dict[str, Any]:
    if name not in assets:
        raise UnreadableError(f"it has no {name} among its assets")
    return parse_object(assets[name], name)


def _not_finite(params: Any) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    broken = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in leaves
        if not np.isfinite(jax.device_get(leaf)).all()
    ]
    more = f" and {len(broken) - 1} more arrays are" if broken[1:] else " is"
    return f"{broken[0]}{more}" if broken else ""


def _abstract_params(config: ModelConfig, mesh: jax.sharding.Mesh) -> Any:
    return sharding.abstract(two_tower.abstract_params(config, mesh.abstract_mesh), mesh)


def _computing_in(config: ModelConfig, dtype: DType | None) -> ModelConfig:
    if dtype is None:
        return config
    if dtype not in typing.get_args(DType):
        raise ValueError(f"dtype is one of {', '.join(typing.get_args(DType))}; got {dtype!r}")
    return dataclasses.replace(config, dtype=dtype)


def _place(params: Any, abstract: Any) -> Any:
    """Host arrays to the layout of `abstract`; each leaves the host as soon as it is placed."""
    if isinstance(params, dict):
        return {key: _place(params.pop(key), abstract[key]) for key in sorted(params)}
    return jax.device_put(params, abstract.sharding)
