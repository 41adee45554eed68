"""Small files that travel with a step beside its arrays: JSON of the run, and assets."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from prolip.checkpoint.errors import CheckpointError
from prolip.checkpoint.manifest import Manifest, matches
from prolip.regular_files import UnreadableError, parse_object, read_bytes

META = "meta.json"
ASSETS = "assets"
MAX_SIZE = 256 << 20  # Bytes of a file.


def encode(step: int, meta: Mapping[str, Any], assets: Mapping[str, bytes]) -> dict[str, bytes]:
    """Path below the step's directory -> contents.

    Raises:
      CheckpointError: `meta` is no JSON, or the path of an asset leads elsewhere.
    """
    for name in assets:
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or str(path) != name:
            raise CheckpointError(f"{name!r} can't be the path of an asset; give a relative one.")
    try:
        text = json.dumps(dict(meta), indent=1, sort_keys=True)
    except (TypeError, ValueError) as e:
        raise CheckpointError(f"The metadata of checkpoint {step} is not JSON: {e}") from e
    return {META: text.encode(), **{f"{ASSETS}/{k}": bytes(v) for k, v in assets.items()}}


def read_meta(directory: Path, manifest: Manifest) -> dict[str, Any]:
    """The meta data of the step in `directory`; CheckpointError if the manifest disagrees."""
    try:
        return parse_object(_read(directory, manifest, META), META)
    except UnreadableError as e:
        raise CheckpointError(f"checkpoint {manifest.step}: {e}") from e


def read_assets(directory: Path, manifest: Manifest) -> dict[str, bytes]:
    """The assets of the step in `directory`; CheckpointError if the manifest disagrees."""
    names = [name for name in manifest.files if name.startswith(f"{ASSETS}/")]
    return {n.removeprefix(f"{ASSETS}/"): _read(directory, manifest, n) for n in names}


def _read(directory: Path, manifest: Manifest, name: str) -> bytes:
    path, want = directory / name, manifest.files.get(name)
    damaged = f"checkpoint {manifest.step} is damaged: {path}"
    if want is None:
        raise CheckpointError(f"{damaged}: its manifest does not name it")
    if want.size > MAX_SIZE:
        raise CheckpointError(f"{damaged}: {want.size:,} bytes; assets have at most {MAX_SIZE:,}")
    try:
        data = read_bytes(path, MAX_SIZE)
    except UnreadableError as e:
        raise CheckpointError(f"checkpoint {manifest.step} is damaged: {e}") from e
    if not matches(data, want):
        raise CheckpointError(f"{damaged}: its contents changed")
    return data
