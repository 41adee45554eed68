"""Names of classes for prompts: those of ImageNet, which come along, and those of a user's file."""

import functools
from collections.abc import Sequence
from pathlib import Path

from prolip.data.files.names import printable
from prolip.data.records import DataError

HERE = Path(__file__).parent / "class_lists"


@functools.cache
def imagenet() -> dict[str, str]:
    """The 1,000 classes of ImageNet in the order of their numbers: WordNet id to name."""
    rows = (line.split("\t") for line in lines(HERE / "imagenet.txt"))
    return {identity: name for identity, name in rows}


def from_file(path: str | Path, classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the classes by a file of one line a class.

    Lines are names in the order of the classes, or `CLASS<tab>NAME` in any order, as many as one
    likes. For a part of ImageNet's classes, 1,000 names in their order will do too.

    Args:
      path: of the file; empty lines and lines that begin with # don't count.
      classes: what the files of the set call them.

    Raises:
      DataError: the file can't be read, or is of another length, or lacks a class.
    """
    found = lines(path)
    where = printable(path)
    if any("\t" in line for line in found):
        pairs = dict(line.split("\t", 1) for line in found if "\t" in line)
        if missing := [name for name in classes if name not in pairs]:
            raise DataError(f"{where} has no name for the class {missing[0]!r}")
        return tuple(pairs[name].strip() for name in classes)
    if len(found) == len(classes):
        return tuple(found)
    if len(found) == len(imagenet()) and all(name in imagenet() for name in classes):
        pairs = dict(zip(imagenet(), found, strict=True))
        return tuple(pairs[name] for name in classes)
    raise DataError(
        f"{where} has {len(found):,} names for {len(classes):,} classes; write a name a line, in "
        "the order of the classes, or the class, a tab and its name"
    )


def lines(path: str | Path) -> list[str]:
    """Lines of a text file that say something, without blanks around them.

    Raises:
      DataError: it can't be read.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf8")
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(path)} can't be read as text: {error}") from error
    found = (line.strip() for line in text.splitlines())
    return [line for line in found if line and not line.startswith("#")]
