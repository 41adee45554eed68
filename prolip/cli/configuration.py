"""`--config FILE --config.key=value ...` to a checked configuration."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

import prolip
from prolip.config import ConfigError, TrainConfig, from_dict

FOLDER = "configs"


def arguments(parser: argparse.ArgumentParser, default: str = "") -> None:
    """Adds `--config`; overrides are the arguments that the parser doesn't know."""
    parser.add_argument(
        "--config",
        default=default,
        required=not default,
        metavar="FILE",
        help="file with get_config(), or the name of one in configs/;\n"
        "--config.optimizer.learning_rate=1e-3 overrides a key, and so on",
    )
    parser.set_defaults(overrides=[])


def load(name: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads the file, applies `--config.key=value` words, and checks every key and type.

    Raises:
      ConfigError: no such file, or a key or value that is not right.
    """
    path = find(name)
    for word in overrides:
        if not re.match(r"--config\.[\w.\[\]]+=", word):
            raise ConfigError(f"don't know {word!r}; overrides are --config.key=value")
    values = flags.FlagValues()
    try:
        holder = config_flags.DEFINE_config_file("config", flag_values=values)
        values(["prolip", f"--config={path}", *overrides])
        config = holder.value
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(_sentence(error)) from error
    return from_dict(TrainConfig, config.to_dict())


def find(name: str) -> Path:
    """A configuration file by path, or by name in `configs/` here or in the checkout."""
    checkout = Path(prolip.__file__).parents[1]
    folders = (Path(FOLDER), checkout / FOLDER)
    candidates = [Path(name), *(folder / f"{name}.py" for folder in folders)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted({file.stem for folder in folders for file in folder.glob("*.py")})
    raise ConfigError(f"no configuration {name!r}; give a file, or one of: {', '.join(known)}")


def _sentence(error: Exception) -> str:
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(error.args[0]) if error.args else str(error)
    return " ".join(text.replace("\\n", " ").replace("\\'", "'").strip("'").split())
