"""Data sets that TFDS prepared as ArrayRecord: the class of a record, by a feature or by a rule."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from prolip.config import DataConfig
from prolip.data.image import decode
from prolip.data.records import BadRecord, DataError
from prolip.evals.multi_label import LEFT_OUT, RIGHT, WRONG
from prolip.evals.sets.listing import MAX_PIXELS, Listing

NO_NAMES: Mapping[str, str] = {}


class Form(NamedTuple):
    """A split of a TFDS data set, and what says which class an image is of."""

    data_set: str
    split: str
    label: str = "label"  # The feature with the class, or with classes; what the rule is about.
    rule: str = ""  # One of `RULES`, or "voc": several classes an image.
    key: str = ""  # The feature with the image's name; "": images are called by their numbers.
    order: tuple[str, ...] = ()  # Names of the classes that a rule gives.
    names: Mapping[str, str] = NO_NAMES  # Of classes, where the feature's are not good for prompts.


def read(folder: str, form: Form) -> Listing:
    """All records in their order; all classes of the feature can be answered.

    Args:
      folder: TFDS's data directory; "" is its own.
      form: which data set, and what is in it.

    Raises:
      DataError: it is not prepared, is of other features, or a record can't be read.
    """
    from prolip.data.sources.tfds import TfdsSource  # Seconds, for those who need it.

    config = DataConfig(name=form.data_set, data_dir=folder, caption_features=(form.label,))
    source = TfdsSource(config, form.split)
    classes = list(form.order) or source.classes(form.label)
    several = form.rule == "voc"
    labels = np.zeros(len(source), np.int32)
    valid = np.full((len(source), len(classes)), WRONG, np.int8) if several else None
    keys = []
    for row in range(len(source)):
        try:
            stored = source.stored(row)
            if valid is not None:
                valid[row] = _judged(stored, len(classes))
            else:
                labels[row] = RULES[form.rule](stored) if form.rule else int(stored[form.label])
            keys.append(_text(stored[form.key]) if form.key else source.key(row))
        except (BadRecord, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{source.name}, record {source.key(row)}: {error}") from error
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DataError(f"{source.name} has a record that is of none of {len(classes)} classes")
    return Listing(
        keys=tuple(keys),
        open=lambda row: decode(source[row].image, MAX_PIXELS),
        labels=labels if valid is None else np.zeros(0, np.int32),
        classes=tuple(classes),
        names=tuple(form.names.get(name) or _spoken(name) for name in classes),
        valid=valid,
    )


def clevr_count(stored: Any) -> int:
    """How many objects there are, from three on. Source: VTAB, arXiv 1910.04867, `clevr/count`."""
    return len(_values(stored["objects"], "pixel_coords")) - 3


def clevr_distance(stored: Any) -> int:
    """Which of six ranges the least depth of an object is in. Source: VTAB."""
    depth = min(float(place[2]) for place in _values(stored["objects"], "pixel_coords"))
    return int(np.searchsorted([8.0, 8.5, 9.0, 9.5, 10.0], depth, side="left"))


def kitti_distance(stored: Any) -> int:
    """Which of four ranges the least depth of a car, van or truck is in; the last one: none is.

    Source: VTAB.
    """
    objects = stored["objects"]
    kinds, places = _values(objects, "type"), _values(objects, "location")
    depths = [float(p[2]) for kind, p in zip(kinds, places, strict=True) if int(kind) < 3]
    return int(np.searchsorted([8.0, 20.0, 999.0], min([*depths, 1000.0]), side="left"))


RULES: dict[str, Callable[[Any], int]] = {
    "clevr_count": clevr_count,
    "clevr_distance": clevr_distance,
    "kitti_distance": kitti_distance,
}


def _judged(stored: Any, classes: int) -> np.ndarray:
    """Int8[classes]: right where an object is shown; left out where all such are difficult."""
    row = np.full(classes, WRONG, np.int8)
    row[np.asarray(stored["labels"], np.int64)] = LEFT_OUT
    row[np.asarray(stored["labels_no_difficult"], np.int64)] = RIGHT
    return row


def _values(objects: Any, name: str) -> list[Any]:
    """A feature of all objects, which are stored as lists of features or a list of objects."""
    if isinstance(objects, Mapping):
        return list(objects[name])
    return [each[name] for each in objects]


def _text(value: Any) -> str:
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)


def _spoken(name: str) -> str:
    """`/b/balcony/exterior` as "balcony exterior", as SUN's classes are called."""
    if name[:1] == "/" and name[2:3] == "/":
        name = name[3:]
    return name.replace("/", " ").replace("_", " ")
