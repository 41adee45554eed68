"""A directory in the layout of the Hub: `config.json`, `model.safetensors`, and its tokenizer."""

import json
import math
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prolip.config import ConfigError, ModelConfig
from prolip.data.image import Preprocessing, check_statistics
from prolip.data.tokenizer import Tokenizer
from prolip.interop import other_layouts, released
from prolip.interop.errors import SourceError
from prolip.interop.hub_config import hub_config, model_config, projection_bias
from prolip.interop.hub_tokenizer import hub_files, read_tokenizer
from prolip.interop.weights import INDEX, WEIGHTS, find_tensors, read_tensor
from prolip.models import two_tower
from prolip.regular_files import UnreadableError, read_object

CONFIG = "config.json"
PREPROCESSING = "preprocessing.json"  # Ours, of a checkpoint that was trained here.
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
SHORT = "shortest"  # The side that is resized to the size of the model.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # Of RGB in [0, 1].
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class Published(NamedTuple):
    """What a directory holds."""

    config: ModelConfig
    params: released.Params  # Float32 NumPy arrays.
    tokenizer: Tokenizer | None
    no_tokenizer: str  # Why there is none, and what to do; "" where there is one.
    preprocessing: Preprocessing
    hub: dict[str, Any]  # Its config.json.


def is_hub_layout(path: Path) -> bool:
    """Whether a directory looks like a published checkpoint, and not like a run of ours."""
    return any((path / name).exists() for name in (WEIGHTS, INDEX))


def refuse_pickles(path: Path) -> None:
    """Raises SourceError for weights that only unpickling could read."""
    files = [path] if path.is_file() else sorted(path.glob("*")) if path.is_dir() else []
    pickled = [file for file in files if file.suffix in PICKLED]
    if pickled:
        raise SourceError(
            f"{pickled[0]} is a pickle, which can run any program when it is read, so it is never "
            f"opened here. Where PyTorch is installed, `python tools/pt_to_safetensors.py "
            f"{pickled[0].name} {WEIGHTS}` converts it; put config.json beside the result."
        )


def read(path: Path, *, fetch: Callable[[str, str], Path | None] | None = None) -> Published:
    """Reads a directory.

    Args:
      path: of the directory.
      fetch: gives a file of another repository by (repository, name), for the tokenizer.

    Raises:
      SourceError: files are missing or damaged, or tensors are missing, unknown, of another shape
        or not finite.
    """
    if not (path / CONFIG).exists() and (described := other_layouts.described(path)):
        raise SourceError(described)
    hub = read_json(path / CONFIG)
    if "vision_cfg" not in hub and (described := other_layouts.described(path)):
        raise SourceError(described)
    try:
        config = model_config(hub)
        preprocessing = _preprocessing(path, hub, config)
    except ValueError as error:  # ConfigError is one.
        raise SourceError(f"{path}: {error}") from error
    try:
        shapes = two_tower.abstract_params(config)
        wanted = released.table(config, projection_bias(hub))
    except ConfigError as error:  # Of sizes that don't fit together.
        raise SourceError(f"{path / CONFIG}: {error}") from error
    places = find_tensors(path, {tensor.name for tensor in wanted})
    try:
        released.check({name: place.shape for name, place in places.items()}, wanted)
    except released.MismatchError as error:
        raise SourceError(f"{path}: {error}") from error
    params = released.to_params(
        lambda name: read_tensor(places[name]), frozenset(places), wanted, shapes
    )
    tokenizer, reason = read_tokenizer(path, hub, config.text, fetch)
    return Published(config, params, tokenizer, reason, preprocessing, hub)


def read_preprocessing(path: Path) -> Preprocessing:
    """Reads the preprocessing of a model in a directory, without its weights.

    Raises:
      SourceError: its `config.json` is missing, damaged or of another model.
    """
    hub = read_json(path / CONFIG)
    try:
        return _preprocessing(path, hub, model_config(hub))
    except (ConfigError, ValueError) as error:
        raise SourceError(f"{path}: {error}") from error


def write(
    path: Path,
    config: ModelConfig,
    params: released.Params,
    tokenizer: Tokenizer | None,
    base: Mapping[str, Any] | None = None,
    hub_id: str = "",
    preprocessing: Preprocessing | None = None,
) -> None:
    """Writes a directory that the released code and `read` load; as a whole or not at all.

    Args:
      path: must not exist, or be an empty directory.
      config: of the model.
      params: its parameters.
      tokenizer: goes along as `tokenizer.json` or `tokenizer.model`.
      base: the config.json that the model once came from.
      hub_id: where it will be published, which the released code loads the tokenizer from.
      preprocessing: of its images, in a file of ours: the released code has one way only.

    Raises:
      ConfigError: the released code can't build such a model.
      SourceError: there is something at `path`, or it can't be written.
    """
    hub = hub_config(config, base)
    text_cfg = hub["text_cfg"]
    if tokenizer is not None:
        text_cfg["tokenizer_kwargs"] = {
            **text_cfg.get("tokenizer_kwargs", {}),
            "clean": tokenizer.cleaning,
        }
    if hub_id:
        text_cfg["hf_tokenizer_name"] = hub_id
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SourceError(f"{path} is there already and not empty; choose another directory")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise SourceError(f"{path} can't be written: {error.strerror}") from error
    try:
        _write_weights(temporary / WEIGHTS, params, released.table(config, projection_bias(hub)))
        (temporary / CONFIG).write_text(json.dumps(hub, indent=2, sort_keys=True) + "\n")
        for name, content in _beside(tokenizer, preprocessing).items():
            (temporary / name).write_bytes(content)
        temporary.chmod(0o755)  # `mkdtemp` makes it private.
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise SourceError(f"{path} can't be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(tokenizer: Tokenizer | None, preprocessing: Preprocessing | None) -> dict[str, bytes]:
    """What config.json has no field for; the released code leaves our own files alone."""
    files = {} if tokenizer is None else {**tokenizer.files(), **hub_files(tokenizer)}
    if preprocessing is not None:
        files[PREPROCESSING] = json.dumps(preprocessing.to_dict(), indent=1).encode()
    return files


def _write_weights(path: Path, params: released.Params, wanted: list[released.Tensor]) -> None:
    """A file of safetensors, one tensor in memory at a time, which the library's writer can't."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in wanted:
        start, end = end, end + 4 * math.prod(tensor.shape)
        shape = list(tensor.shape)
        header[tensor.name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, value in released.to_tensors(params, wanted):
            file.write(value.astype("<f4", copy=False).data)
        file.flush()
        os.fsync(file.fileno())


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file.

    Raises:
      SourceError: it is missing, damaged, or not an object.
    """
    try:
        return read_object(path)
    except UnreadableError as error:
        raise SourceError(str(error)) from error


def _preprocessing(path: Path, hub: Mapping[str, Any], config: ModelConfig) -> Preprocessing:
    size = config.image.image_size
    if not (path / PREPROCESSING).exists():
        mean, std = _statistics(hub)
        return Preprocessing(size, mean, std, form="released")
    read = Preprocessing.from_dict(read_json(path / PREPROCESSING))
    if read.image_size != size:
        raise ConfigError(
            f"{PREPROCESSING}: image_size is {read.image_size}; {CONFIG} has "
            f"vision_cfg.image_size={size}"
        )
    return read


def _statistics(hub: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of RGB, of what open_clip calls `preprocess_cfg`.

    Raises:
      ConfigError: it is damaged, or asks for another way than the released one.
    """
    given = hub.get("preprocess_cfg") or {}
    try:
        for field, only in (("mode", "RGB"), ("interpolation", "bicubic"), ("resize_mode", SHORT)):
            if given.get(field, only) != only:
                raise ConfigError(
                    f"config.json: preprocess_cfg.{field} is {given[field]!r}; the released code "
                    f"has {only!r} alone"
                )
        mean, std = (
            tuple(float(x) for x in given.get(field, default))
            for field, default in (("mean", OPENAI_MEAN), ("std", OPENAI_STD))
        )
    except ConfigError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(f"config.json: preprocess_cfg is damaged: {error}") from error
    try:
        check_statistics(mean, std)
    except ValueError as error:
        raise ConfigError(f"config.json: preprocess_cfg: {error}") from error
    return mean, std
