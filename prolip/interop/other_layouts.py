"""Directories that hold a model in a layout that can't be read, named for what they are."""

from pathlib import Path

from prolip.config import ConfigError
from prolip.interop.hub_config import model_config
from prolip.regular_files import UnreadableError, read_object

OPEN_CLIP = "open_clip_config.json"
READ = "prolip reads config.json with model.safetensors, as ProLIP is published, and its own runs"
SHOWN = 5  # Names of files in a message.


def described(path: Path) -> str:
    """Returns a sentence on what a directory holds, and what to do; "" if nothing is recognised."""
    if (path / OPEN_CLIP).exists():
        return _open_clip(path)
    if (path / "config.json").exists():
        try:
            config = read_object(path / "config.json")
        except UnreadableError as error:
            return str(error)
        kind = config.get("model_type")
        if isinstance(kind, str):
            return (
                f"{path} is a model in the layout of transformers (config.json has model_type "
                f"{kind[:40]!r}), which can't be read; {READ}"
            )
    weights = sorted(file.name for file in path.glob("*.safetensors"))
    if weights and not {"config.json", "model.safetensors"} <= {p.name for p in path.iterdir()}:
        return (
            f"{path} has weights ({', '.join(weights[:SHOWN])}) in no layout that is known; {READ}"
        )
    return ""


def contents(path: Path) -> str:
    """Returns what a directory without any checkpoint holds, for a message."""
    names = sorted(entry.name for entry in path.iterdir())
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    listed = ", ".join(name[:80] for name in names[:SHOWN])
    return f"it holds {listed}{more}" if names else "it is empty"


def _open_clip(path: Path) -> str:
    weights = sorted(file.name for file in path.glob("open_clip*") if file.name != OPEN_CLIP)
    listed = " and ".join([OPEN_CLIP, *weights[:SHOWN]])
    start = f"{path} is a model in the layout of open_clip ({listed})"
    try:
        config = model_config(read_object(path / OPEN_CLIP).get("model_cfg") or {})
    except UnreadableError as error:
        return f"{start}: {error}"
    except ConfigError as error:
        reason = str(error).removeprefix("config.json: ")
        return f"{start}, of an architecture that can't be read: model_cfg: {reason}; {READ}"
    kind = "deterministic" if config.heads == "deterministic" else "ProLIP"
    tensors = any(name.endswith(".safetensors") for name in weights)
    naming = "name the weights" if tensors or not weights else "convert the weights to"
    return (
        f"{start}, of a {kind} architecture that can be read: write what {OPEN_CLIP} has under "
        f"model_cfg, with its preprocess_cfg, to config.json, and {naming} model.safetensors"
    )
