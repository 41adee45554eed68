"""Sets of prompt templates: three that come along as versioned files, or a user's file."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from prolip.config import ConfigError
from prolip.config_eval import templates_error
from prolip.data.near import unknown
from prolip.evals.sets.class_names import lines

HERE = Path(__file__).parent / "templates"
SHIPPED = ("simple", "siglip", "openai")


class Prompts(NamedTuple):
    """Templates with a name by which results can be compared."""

    name: str  # "openai v1", or the name of a file.
    templates: tuple[str, ...]  # Each has {} in the place of the name.

    @property
    def digest(self) -> str:
        """SHA-256 of the templates in order."""
        return hashlib.sha256("\n".join(self.templates).encode()).hexdigest()


def read(name: str) -> Prompts:
    """A set that comes along ("simple", "siglip", "openai"), or a text file of a template a line.

    Raises:
      ConfigError: there is no such set or file, or a line without the place for the name.
      DataError: the file can't be read.
    """
    if name in SHIPPED:
        path = HERE / f"{name}.txt"
        version = re.search(r"^# Version (\d+)", path.read_text(encoding="utf8"))
        return checked(f"{name} v{version[1] if version else 0}", lines(path))
    if not Path(name).expanduser().is_file():
        raise ConfigError(unknown(name, SHIPPED, "there is no set of prompts and no file"))
    return checked(Path(name).name, lines(name))


def checked(name: str, templates: Sequence[str]) -> Prompts:
    """Prompts of given templates; `{c}`, as CLIP_benchmark writes it, is `{}`.

    Raises:
      ConfigError: there is none, or one without exactly one place for the name.
    """
    found = tuple(template.replace("{c}", "{}") for template in templates)
    if reason := templates_error(found):
        raise ConfigError(f"{name}, a template a line: {reason}")
    return Prompts(name, found)
