"""Patterns of names: braces as a shell has them, then `*`, `?` and `[]`."""

import glob
import re

from prolip.config import ConfigError
from prolip.data.files.names import printable
from prolip.data.records import DataError

MAX_NAMES = 1_000_000
BRACES = re.compile(r"\{(?P<first>\d+)\.\.(?P<last>\d+)\}|\{(?P<list>[^{}]*,[^{}]*)\}")


def is_pattern(name: str) -> bool:
    """Whether a name may stand for several."""
    return re.search(r"[*?\[{]", name) is not None


def matches(pattern: str) -> list[str]:
    """Files of a pattern in order; names without `*`, `?` and `[]` need not exist.

    Raises:
      ConfigError: braces stand for no names, or for too many.
      DataError: a part of it matches no file.
    """
    names = []
    for name in braces(pattern):
        found = sorted(glob.glob(name)) if re.search(r"[*?\[]", name) else [name]
        if not found:
            raise DataError(f"{printable(name)} matches no file")
        names += found
    return names


def braces(pattern: str) -> list[str]:
    """All names that `{00..12}` and `{a,b}` stand for.

    Raises:
      ConfigError: none, or too many.
    """
    match = BRACES.search(pattern)
    if match is None:
        return [pattern]
    tails = braces(pattern[match.end() :])
    if match["list"]:
        parts = match["list"].split(",")
    else:
        first, last, digits = int(match["first"]), int(match["last"]), len(match["first"])
        if not 0 < (last - first + 1) * len(tails) <= MAX_NAMES:
            raise ConfigError(f"{pattern}: {match[0]} stands for no names, or for too many")
        parts = [f"{number:0{digits}}" for number in range(first, last + 1)]
    return [pattern[: match.start()] + part + tail for part in parts for tail in tails]
