"""The words that name an evaluation set: `NAME=WHERE`, and after it options.

imagenet=/data/imagenet/val real=/data/real.json
imagenet_a=/data/imagenet-a prompts=siglip
folder=/data/pets as=pets names=/data/pets/names.txt
cifar10=tfds:/data/tfds
imagenet=/data/imagenet/val choose=bprw
coco=/data/coco partial=yes
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from prolip.config import ConfigError

OPTION = re.compile(r"\s+(as|prompts|names|real|partial|choose)=(\S+)$")
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
GRAMMAR = (
    "write NAME=WHERE, and after it prompts=NAME_OR_FILE, names=FILE, real=FILE, as=NAME, "
    "choose=bprw or partial=yes where needed: 'imagenet=/data/imagenet/val prompts=siglip'"
)


class Address(NamedTuple):
    """Which set, where its files are, and how it is to be measured."""

    kind: str  # Its name in the registry.
    where: str  # A folder, or "tfds:" and the folder of prepared TFDS data.
    name: str  # Under which results stand.
    prompts: str = ""  # "": those that the set is usually measured with.
    names: str = ""  # A file of names; "": those that come along or are in the files.
    partial: bool = False  # Go on with a part of the set.
    real: str = ""  # A file of ReaL labels.
    choose: bool = False  # Prompts by uncertainty, and weighted by images, besides.


def parse(text: str) -> Address:
    """An address from its words.

    Raises:
      ConfigError: they are of another form.
    """
    rest, options = text.strip(), dict[str, str]()
    while (match := OPTION.search(rest)) is not None:
        if match[1] in options:
            raise ConfigError(f"the set {text!r} names {match[1]} twice; {GRAMMAR}")
        options[match[1]] = match[2]
        rest = rest[: match.start()]
    kind, equals, where = (part.strip() for part in rest.partition("="))
    if not (kind and equals and where):
        raise ConfigError(f"{text!r} names no set; {GRAMMAR}")
    partial = options.get("partial", "no")
    if partial not in ("yes", "no"):
        raise ConfigError(f"the set {text!r}: partial is yes or no, not {partial!r}")
    if options.get("choose", "bprw") != "bprw":
        raise ConfigError(f"the set {text!r}: choose is bprw, not {options['choose']!r}")
    name = options.get("as", kind)
    if not PLAIN.fullmatch(name):
        raise ConfigError(f"the set {text!r}: a name is of letters, digits, '_', '-' and '.'")
    found = {key: options.get(key, "") for key in ("prompts", "names", "real")}
    return Address(kind, where, name, **found, partial=partial == "yes", choose="choose" in options)


def addresses(texts: Iterable[str]) -> list[Address]:
    """Addresses in order; of two with the same name the later one counts.

    Raises:
      ConfigError: one is of another form.
    """
    return list({found.name: found for found in map(parse, texts)}.values())
