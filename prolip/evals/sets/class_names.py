"""Names of classes for prompts: those of ImageNet, which come along, and those of a user's file."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from prolip.data.files.names import printable
from prolip.data.records import DataError

HERE = Path(__file__).parent / "class_lists"
SHOWN = 3  # Classes, or pairs of one and its name, in a sentence.


@functools.cache
def imagenet() -> dict[str, str]:
    """The 1,000 classes of ImageNet in the order of their numbers: WordNet id to name."""
    rows = (line.split("\t") for line in lines(HERE / "imagenet.txt"))
    return {identity: name for identity, name in rows}


class Named(NamedTuple):
    """Names of classes, in the order of the classes."""

    names: tuple[str, ...]
    note: str = ""  # A sentence that shows which class got which name; "" where the file says so.


def in_order(classes: Iterable[str]) -> list[str]:
    """Classes by their names, or by their numbers where each is called by a number."""
    listed = sorted(classes)
    if all(name.isascii() and name.isdigit() for name in listed):
        listed.sort(key=int)
    return listed


def from_file(path: str | Path, classes: Sequence[str]) -> Named:
    """Names of the classes by a file of one line a class.

    Lines are names in the order of the classes, or `CLASS<tab>NAME` in any order, as many as one
    likes. For a part of ImageNet's classes, 1,000 names in their order will do too.

    Args:
      path: of the file; empty lines and lines that begin with # don't count.
      classes: what the files of the set call them, in their order.

    Raises:
      DataError: the file can't be read, or is of another length, lacks a class or names one twice,
        or gives names in an order that people and programs see differently.
    """
    found = lines(path)
    where = printable(path)
    if any("\t" in line for line in found):
        return Named(_by_class(found, classes, where))
    if len(found) == len(classes):
        _check_order(classes, found, where)
        return Named(tuple(found), f"names by the order of {where}: {_pairing(classes, found)}")
    if len(found) == len(imagenet()) and all(name in imagenet() for name in classes):
        pairs = dict(zip(imagenet(), found, strict=True))
        return Named(tuple(pairs[name] for name in classes))
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
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(path)} can't be read as text: {error}") from error
    found = (line.strip() for line in text.split("\n"))
    return [line for line in found if line and not line.startswith("#")]


def _by_class(found: Sequence[str], classes: Sequence[str], where: str) -> tuple[str, ...]:
    pairs: dict[str, str] = {}
    for line in found:
        name, _, spoken = (part.strip() for part in line.partition("\t"))
        if not spoken:
            raise DataError(f"{where}: the line {line!r} is not a class, a tab and its name")
        if pairs.setdefault(name, spoken) != spoken:
            raise DataError(f"{where} names the class {name!r} twice: {pairs[name]!r}, {spoken!r}")
    if missing := [name for name in classes if name not in pairs]:
        raise DataError(f"{where} has no name for the class {missing[0]!r}")
    return tuple(pairs[name] for name in classes)


def _check_order(classes: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuses names without classes where it is not plain which order they are written in.

    Programs sort by code point ("B" before "a", "c10" before "c2"), `ls` and people otherwise.
    Folders that are called by numbers alone are in the order of these, see `in_order`.
    """
    if list(classes) != sorted(classes):  # By numbers, which labels and people have.
        return
    for key in (_by_letters, _by_numbers):
        other = sorted(classes, key=key)
        if other != list(classes):
            raise DataError(
                f"{where} has names without classes, and the order of the classes is not plain: "
                f"{_first_difference(classes, other)}. Read in the first order, "
                f"{_pairing(classes, names)}. Write lines of the class, a tab and its name"
            )


def _by_letters(name: str) -> tuple[str, str]:
    """As `ls` sorts in most languages: accents, case and marks count last."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain.casefold() if c.isalnum()), name


def _by_numbers(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Numbers within names by their values, before letters."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(False, int(p), "") if p.isdecimal() else (True, 0, p) for p in parts], name


def _first_difference(one: Sequence[str], other: Sequence[str]) -> str:
    place = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    return (
        f"number {place + 1} is {printable(one[place])!r} by code points and "
        f"{printable(other[place])!r} in the order that people and `ls` use"
    )


def _pairing(classes: Sequence[str], names: Sequence[str]) -> str:
    pairs = [f"{printable(c)} is {n!r}" for c, n in zip(classes, names, strict=True)]
    return ", ".join(pairs[:SHOWN]) + (", ..." if len(pairs) > SHOWN else "")
