"""The table of data sets that TFDS prepares: `tfds_sets.toml` beside this file."""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from prolip.evals.sets.layouts.prepared import Form

FILE = Path(__file__).parent / "tfds_sets.toml"
_TEXT = FILE.read_text(encoding="utf8")
VERSION = int(re.search(r"^# Version (\d+)", _TEXT).group(1))  # type: ignore[union-attr]


class Row(NamedTuple):
    """A data set of the table."""

    name: str
    what: str
    form: Form
    images: int
    classes: int
    metric: str  # `top1`, `class_top1` or `map`: what is usually reported.
    templates: tuple[str, ...]


def rows() -> list[Row]:
    """All data sets, by name."""
    table: dict[str, dict[str, Any]] = tomllib.loads(_TEXT)
    return [_row(name, dict(given)) for name, given in sorted(table.items())]


def _row(name: str, given: dict[str, Any]) -> Row:
    """One data set; a key that is not of it is an error, so that none is overlooked."""
    form = {key: given.pop(key) for key in Form._fields if key in given}
    form["order"] = tuple(form.get("order", ()))
    given["templates"] = tuple(given["templates"])
    return Row(name=name, form=Form(**form), **{"metric": "top1"} | given)
