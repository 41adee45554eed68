"""Class names as data holds them: texts, or numbers."""

import math
from collections.abc import Sequence
from typing import Any

from prolip.data.files.names import printable
from prolip.data.records import BadRecord

MARKS = "\ufeff\0"  # A byte order mark, and what C programs write behind a text.
SHOWN = 3  # Names in a sentence.


def label_of(value: Any) -> str:
    """A class name from a cell or a field of JSON; of a list the first; "" where there is none.

    Raises:
      BadRecord: it is neither a text nor a number.
    """
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise BadRecord("label is not UTF-8") from error
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # As tables store integers of which some are missing.
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        raise BadRecord("label is neither a text nor a number")
    return str(value).strip().strip(MARKS).strip()


def named_alike(classes: Sequence[str], names: Sequence[str]) -> str:
    """A sentence about classes with the same name, "" where there are none.

    Names count as the same that differ in case, blanks and punctuation only, which most cleaning
    of texts removes.

    Args:
      classes: What the data calls them.
      names: What prompts call them, in the same order.
    """
    alike: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        letters = "".join(c for c in name.casefold() if c.isalnum())
        alike.setdefault(letters or " ".join(name.split()), []).append(number)
    groups = [numbers for numbers in alike.values() if len(numbers) > 1]
    if not groups:
        return ""

    def shown(number: int) -> str:
        same = names[number] == classes[number]
        return f"{printable(classes[number])!r}" + ("" if same else f" ({names[number]!r})")

    listed = [" and ".join(map(shown, numbers[:SHOWN])) for numbers in groups[:SHOWN]]
    more = ", ..." if len(groups) > SHOWN else ""
    return (
        "classes with the same name, which prompts can't tell apart: "
        f"{', '.join(listed)}{more}; give them different names, or make one class of them"
    )
