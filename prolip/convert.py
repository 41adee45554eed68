"""Checkpoints from one layout to the other, every number unchanged."""

import json
from pathlib import Path
from typing import Literal

import jax

from prolip.checkpoint import CheckpointStore
from prolip.config import DataConfig, TrainConfig, to_dict
from prolip.interop import hub
from prolip.interop.errors import SourceError
from prolip.loading import HUB_ASSET, load
from prolip.model import Model
from prolip.workdir import open_workdir

Layout = Literal["orbax", "hub"]


def convert(
    source: str | Path,
    destination: str | Path,
    to: Layout,
    *,
    step: int | None = None,
    hub_id: str = "",
) -> None:
    """Writes the model at `source` in another layout.

    Args:
      source: whatever `prolip.load` takes.
      destination: must not exist, or be an empty directory.
      to: "hub" for `config.json` and `model.safetensors`, which the released PyTorch code loads;
        "orbax" for a workdir with one checkpoint, step 0, without an optimizer.
      step: of a workdir; None takes the newest.
      hub_id: for "hub": where it will be published, so that the released code finds its tokenizer.

    Raises:
      SourceError: the source can't be read, or the destination is taken or can't be written.
      ConfigError: the released code can't build this model.
      CheckpointError: the source has no such checkpoint, or it can't be written.
    """
    model, target = load(source, step), Path(destination).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SourceError(f"{target} is there already and not empty; choose another directory")
    if to == "hub":
        tokenizer = model.tokenizer if model.has_tokenizer else None
        params = jax.device_get(model.params)
        hub.write(target, model.config, params, tokenizer, model.hub, hub_id, model.preprocessing)
    else:
        _write_workdir(model, target, str(source))


def _write_workdir(model: Model, path: Path, source: str) -> None:
    if model.hub is None:
        raise SourceError(f"{source} is a checkpoint of this layout already")
    preprocessing = model.preprocessing
    # Nobody knows what it was trained on: evaluation has to be told.
    data = DataConfig(name="", mean=preprocessing.mean, std=preprocessing.std)
    config = TrainConfig(model=model.config, data=data)
    workdir = open_workdir(path)
    assets = {
        "config.json": json.dumps(to_dict(config), indent=2).encode(),
        "preprocessing.json": json.dumps(preprocessing.to_dict(), indent=2).encode(),
        HUB_ASSET: json.dumps(model.hub, indent=2, sort_keys=True).encode(),
        **(model.tokenizer.files() if model.has_tokenizer else {}),
    }
    with CheckpointStore(workdir.checkpoints, write=True) as store:
        store.save(0, {"params": model.params}, {"step": 0, "source": source}, assets)
        store.wait()
    workdir.write_config(config)
