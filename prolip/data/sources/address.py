"""The words that name a component of a mixture, or what a `prolip data` verb reads.

    KIND:WHERE[=SHARE] [image=FEATURE] [captions=FEATURE,FEATURE]

`webdataset:/data/cc12m/*.tar=0.7`, `table:/data/set.parquet=1 image=jpg captions=caption`,
`folder:/data/pictures`, `tfds:my_set:train=0.3`. The features are those of the configuration where
none are named.
"""

import dataclasses
import os
import re
from pathlib import Path
from typing import NamedTuple

from prolip.config import ConfigError, DataConfig
from prolip.data.files.frames import FRAMES
from prolip.data.files.names import TEXT_EXTENSIONS
from prolip.data.files.tar_members import PACKED, UNPACK
from prolip.data.files.walk import HIDDEN, walk
from prolip.data.near import unknown

KINDS = ("webdataset", "table", "parquet", "folder", "tfds")
OPTION = re.compile(r"\s+(image|captions)=(\S+)$")
GRAMMAR = (
    "write KIND:WHERE=SHARE, and after it image=FEATURE and captions=FEATURE,FEATURE where they "
    "are others: 'webdataset:/data/cc12m/*.tar=0.7', 'tfds:my_set:train=0.3 captions=title'"
)


class Component(NamedTuple):
    """A source and its share of the samples."""

    config: DataConfig
    share: float


def component(text: str, config: DataConfig) -> Component:
    """A component of a mixture as a configuration of its own.

    Raises:
      ConfigError: the text is of another form, or its captions don't fit `caption_weights`.
    """
    rest, options = _options(text.strip())
    address, equals, share = rest.rpartition("=")
    try:
        weight = float(share)
    except ValueError:
        weight = 0.0
    if not equals or not 0 < weight < float("inf"):
        raise ConfigError(f"data.mixture: {text!r} names no share above zero; {GRAMMAR}")
    own = with_address(address, dataclasses.replace(config, mixture=()), options)
    if len(own.caption_features) != len(config.caption_weights):
        raise ConfigError(
            f"data.mixture: {text!r} has {len(own.caption_features)} caption features, and "
            f"data.caption_weights has {len(config.caption_weights)}"
        )
    return Component(own, weight)


def address(text: str, config: DataConfig) -> DataConfig:
    """The configuration of a source without a share.

    Raises:
      ConfigError: the text is of another form.
    """
    rest, options = _options(text.strip())
    return with_address(rest, config, options)


def with_address(text: str, config: DataConfig, options: dict[str, str]) -> DataConfig:
    """The configuration with another data set as its training split."""
    kind, colon, where = text.partition(":")
    if not colon or not where:
        raise ConfigError(f"{text!r} names no data; {GRAMMAR}")
    if kind not in KINDS:
        raise ConfigError(unknown(kind, KINDS, f"{text!r}: there is no kind of data"))
    if kind == "tfds":
        name, _, split = where.rpartition(":") if ":" in where else (where, "", "train")
        config = dataclasses.replace(config, name=name, train_split=split)
    else:
        config = dataclasses.replace(config, name=kind, train_split=where)
    if "image" in options:
        config = dataclasses.replace(config, image_feature=options["image"])
    if "captions" in options:
        features = tuple(options["captions"].split(","))
        config = dataclasses.replace(config, caption_features=features)
    return config


def inferred(text: str) -> str:
    """`KIND:WHERE` of a path by what is there; what has a kind already stays as it is.

    Raises:
      ConfigError: it is not to be told.
    """
    if text.partition(":")[0] in KINDS:
        return text
    path = os.path.expanduser(text)
    ends = os.path.splitext(path)[1].lower()
    if ends == ".tar":
        return f"webdataset:{text}"
    if ends in FRAMES:
        return f"table:{text}"
    if os.path.isdir(path):
        for kind, known in (("webdataset", (".tar",)), ("table", tuple(FRAMES))):
            if any(name.lower().endswith(known) for name in os.listdir(path)):
                return f"{kind}:{text}"
        return f"folder:{text}"
    hint = UNPACK if path.lower().endswith(PACKED) else GRAMMAR
    raise ConfigError(f"{text!r} is not a folder, tar or table; {hint}")


def default_captions(config: DataConfig) -> tuple[str, ...]:
    """The usual caption feature of a kind of data."""
    if config.name == "webdataset":
        return ("txt",)
    if config.name == "folder":
        root = Path(os.path.expanduser(config.data_dir), os.path.expanduser(config.train_split))
        names = (file.name for file in walk(os.path.realpath(root)) if file.reason != HIDDEN)
        has_texts = any(name.lower().endswith(TEXT_EXTENSIONS) for name in names)
        return ("txt",) if has_texts else ("folder",)
    return ("caption",)


def _options(text: str) -> tuple[str, dict[str, str]]:
    options: dict[str, str] = {}
    while (match := OPTION.search(text)) is not None:
        if match[1] in options:
            raise ConfigError(f"{text!r} names {match[1]} twice; {GRAMMAR}")
        options[match[1]] = match[2]
        text = text[: match.start()]
    return text, options
