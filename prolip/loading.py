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
from prolip.data.image import Preprocessing
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
            if described := other_layouts.described(path):
                raise SourceError(described)
            hub.refuse_pickles(path)
            raise CheckpointError(f"{path} has no checkpoint; {other_layouts.contents(path)}")
        return load_step(store, chosen, dtype)


def load_step(store: CheckpointStore, step: int, dtype: DType | None = None) -> Model:
    """Loads one step of an open store: parameters alone, verified, onto all local devices."""
    with store.read_lease(step):
        assets = store.assets(step)
        where = str(store.directory / str(step))
        try:
            config = from_dict(TrainConfig, _object(assets, CONFIG_ASSET)).model
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
