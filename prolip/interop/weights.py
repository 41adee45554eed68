"""Tensors in the files of a directory, by the names that the model knows them by."""

import itertools
import logging
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors

from prolip.interop.errors import SourceError
from prolip.interop.tensor_names import common_prefix, is_buffer, unwrapped
from prolip.regular_files import UnreadableError, check_regular, read_object

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # Of weights in several files.
DTYPES = ("F32", "F16", "BF16")  # Which float32 holds exactly.
MAX_HEADER = 8 << 20  # Bytes of a file of safetensors; 311 tensors of a B/16 take 31,000.
MAX_FILES = 10_000


class StoredTensor(NamedTuple):
    """A tensor in a file."""

    file: Path
    name: str  # As it is stored.
    shape: tuple[int, ...]
    dtype: str  # As safetensors names it.


def find_tensors(path: Path, wanted: Collection[str]) -> dict[str, StoredTensor]:
    """Returns the tensors of a directory by name, without what other programs add to names.

    Args:
      path: of the directory.
      wanted: names that the model has.

    Raises:
      SourceError: a file is missing or damaged, or a tensor that is wanted has another dtype.
    """
    tensors: dict[str, StoredTensor] = {}
    buffers: list[str] = []
    for tensor in _stored(path):
        name = unwrapped(tensor.name)
        if is_buffer(name):
            buffers.append(tensor.name)
        elif name in tensors:
            raise SourceError(
                f"{tensor.file}: {tensor.name} and {tensors[name].name} would both be {name}"
            )
        else:
            tensors[name] = tensor
    if buffers:
        log.warning("%s: left out, as they hold no weights: %s", path, ", ".join(sorted(buffers)))
    prefix = common_prefix(tensors.keys(), wanted)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if name in wanted and tensor.dtype not in DTYPES:
            kinds = ", ".join(DTYPES)
            raise SourceError(f"{tensor.file}: {tensor.name} is {tensor.dtype}, not {kinds}")
    return tensors


def read_tensor(tensor: StoredTensor) -> np.ndarray:
    """Returns the numbers as float32.

    Raises:
      SourceError: they can't be read, or are not finite.
    """
    file, name = tensor.file, tensor.name
    try:
        # Opened for each: the pages of a mapped file count as memory until it is closed.
        with safetensors.safe_open(file, framework="numpy") as opened:
            value = np.asarray(opened.get_tensor(name), np.float32)
    except Exception as error:
        raise SourceError(f"{file}: {name} can't be read: {error}") from error
    if not np.isfinite(value).all():
        raise SourceError(f"{file}: {name} has numbers that are not finite: it is damaged")
    return value


def indexed_files(index: Path) -> dict[str, str]:
    """Returns the name of the file that each tensor is in, by an index of weights.

    Raises:
      SourceError: the index is damaged, or names files elsewhere or too many.
    """
    try:
        places = read_object(index).get("weight_map")
    except UnreadableError as error:
        raise SourceError(str(error)) from error
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise SourceError(f"{index} is damaged: it has no weight_map")
    names = set(places.values())
    if any(name in ("", ".", "..") or Path(name).name != name or "\0" in name for name in names):
        raise SourceError(f"{index} names a file outside its directory")
    if len(names) > MAX_FILES:
        raise SourceError(f"{index} names {len(names):,} files; at most {MAX_FILES:,} are read")
    return places


def _stored(path: Path) -> Iterator[StoredTensor]:
    if (path / WEIGHTS).exists():
        yield from _tensors(path / WEIGHTS)
        return
    places: Mapping[str, str] = indexed_files(path / INDEX)
    files = (path / name for name in sorted(set(places.values())))
    for tensor in itertools.chain.from_iterable(map(_tensors, files)):
        # A tensor that several files have is taken from the one that the index names.
        if places.get(tensor.name, tensor.file.name) == tensor.file.name:
            yield tensor


def _tensors(file: Path) -> Iterator[StoredTensor]:
    try:
        _check_header(file)
        with safetensors.safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                view = opened.get_slice(name)
                yield StoredTensor(file, name, tuple(view.get_shape()), view.get_dtype())
    except (SourceError, UnreadableError) as error:
        raise SourceError(str(error)) from error
    except Exception as error:  # Several kinds, one of them from Rust.
        raise SourceError(f"{file} is missing or damaged: {error}") from error


def _check_header(file: Path) -> None:
    """Raises SourceError or UnreadableError before a header can take much memory."""
    size = check_regular(file)
    with file.open("rb") as opened:
        start = opened.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > size - 8:
        raise SourceError(f"{file} is missing or damaged: it ends within its header")
    if length > MAX_HEADER:
        raise SourceError(
            f"{file} has a header of {length:,} bytes; at most {MAX_HEADER:,} are read"
        )
