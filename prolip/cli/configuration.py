"""`--config FILE --config.key=value ...` to a checked configuration."""

import argparse
import difflib
import runpy
from collections.abc import Sequence
from pathlib import Path

import prolip
from prolip.config import ConfigError, TrainConfig, from_dict, override, to_dict

FOLDER = "configs"


def arguments(parser: argparse.ArgumentParser, default: str = "") -> None:
    """Adds `--config`; overrides are the arguments that the parser doesn't know."""
    parser.add_argument(
        "--config",
        default=default,
        required=not default,
        metavar="FILE",
        help="file with get_config(), or the name of one in configs/; NAME:VARIANT where\n"
        "the file has variants; "
        "--config.optimizer.learning_rate=1e-3 overrides a key, and so on",
    )
    parser.set_defaults(overrides=[])


def load(name: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads the file, applies `--config.key=value` words, and checks every key and type.

    Raises:
      ConfigError: no such file, or a key or value that is not right.
    """
    name, _, variant = name.partition(":")
    path = find(name)
    try:
        config = runpy.run_path(str(path))["get_config"](*([variant] if variant else []))
        values = to_dict(config) if isinstance(config, TrainConfig) else config.to_dict()
        config = from_dict(TrainConfig, values)
    except ConfigError:
        raise
    except Exception as error:  # The file is the user's own program.
        raise ConfigError(f"{path}: {_sentence(error)}") from error
    return override(config, [w.removeprefix("--") for w in overrides])


def find(name: str) -> Path:
    """Returns a configuration file, given by its path or by its name in `configs/`.

    A folder `configs/` here comes before the configurations of the package.
    """
    folders = (Path(FOLDER), shipped())
    candidates = [Path(name), *(folder / f"{name}.py" for folder in folders)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted({file.stem for folder in folders for file in folder.glob("*.py")})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}, of" if near else "give a file, or one of:"
    raise ConfigError(f"no configuration {name!r}; {hint} {', '.join(known)}")


def shipped() -> Path:
    """Returns the folder of the package's configurations, inside a wheel or beside the package."""
    package = Path(prolip.__file__).parent
    inside = package / FOLDER
    return inside if inside.is_dir() else package.parent / FOLDER


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, KeyError) and error.args == ("get_config",):
        return "it has no get_config()"
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__} {text}"
