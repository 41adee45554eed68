"""Sets that a source of records reads: tars in CLIP_benchmark's form, and TFDS ArrayRecord."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from prolip.config import DataConfig
from prolip.data.files.names import printable
from prolip.data.labels import label_of
from prolip.data.records import BadRecord, DataError
from prolip.data.sources.choose import open_source
from prolip.data.sources.source import Source
from prolip.evals.sets import class_names
from prolip.evals.sets.listing import Listing, labelled

CLASSES, TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"
PARTS = ("test", "")  # Where the tars are.


class Prepared(NamedTuple):
    """A split of a TFDS data set."""

    data_set: str
    split: str
    label: str  # The feature with the class.
    key: str = ""  # That with the image's name; "": images are called by their numbers.


def has_tars(root: Path) -> bool:
    """Whether there are tars in the folder, or in `test` of it."""
    return any((root / part).is_dir() and any((root / part).glob("*.tar")) for part in PARTS)


def tars(root: Path, classes: Sequence[str], names: Sequence[str]) -> Listing:
    """Samples of an image and a number of the class, `.cls`; read in place.

    Args:
      root: holds `test/*.tar` (or the tars), and may hold `classnames.txt` and
        `zeroshot_classification_templates.txt`, which then count.
      classes: in the order of the numbers, where there is no `classnames.txt`.
      names: of the classes.

    Raises:
      DataError: a sample without a number, or one that has no class.
    """
    part = next(
        part for part in PARTS if (root / part).is_dir() and any((root / part).glob("*.tar"))
    )
    config = DataConfig(name="webdataset", data_dir=str(root / part), caption_features=("cls",))
    source = open_source(config, ".")
    if source.damage:
        raise DataError(f"{source.damage[0].key}: {source.damage[0].reason}")
    beside = [folder for folder in (root, root.parent) if (folder / CLASSES).is_file()]
    if beside:
        names = class_names.lines(beside[0] / CLASSES)
        classes = [str(number) for number in range(len(names))]
    if not classes:
        raise DataError(f"{printable(root)} has no {CLASSES}, which names the classes in order")
    numbers = [label_of(number) for (number,) in _texts(source)]
    if wrong := [n for n in numbers if not n.isdecimal() or int(n) >= len(classes)]:
        raise DataError(f"{printable(root)} has a sample of class {wrong[0]!r} of {len(classes):,}")
    templates = [f / TEMPLATES for f in beside if (f / TEMPLATES).is_file()]
    return labelled(
        [source.key(row) for row in range(len(source))],
        lambda row: source[row].image,
        [classes[int(number)] for number in numbers],
        classes,
        names,
        class_names.lines(templates[0]) if templates else (),
    )


def tfds(folder: str, form: Prepared, classes: Sequence[str], names: Sequence[str]) -> Listing:
    """A TFDS data set that is prepared as ArrayRecord.

    Args:
      folder: of prepared data; "" is TFDS's own.
      form: which data set, and what is in it.
      classes: that can be answered; without any, those that there are.
      names: of the classes.

    Raises:
      DataError: it is not prepared, or a record can't be read.
    """
    features = (form.label, form.key) if form.key else (form.label,)
    config = DataConfig(name=form.data_set, data_dir=folder, caption_features=features)
    source = open_source(config, form.split)
    if not len(source):
        raise DataError(f"{source.name} {form.split} has no record")
    labels, *keys = zip(*_texts(source), strict=True)
    if not classes:
        classes = sorted(set(labels))
        known = class_names.imagenet()
        names = [known.get(c, c.replace("_", " ")) for c in classes]
    return labelled(
        keys[0] if keys else [source.key(row) for row in range(len(source))],
        lambda row: source[row].image,
        labels,
        classes,
        names,
    )


def _texts(source: Source) -> list[tuple[str, ...]]:
    """Of each record the one text of each of its features; all records are read for it."""
    found = []
    for row in range(len(source)):
        try:
            texts = source[row].captions
        except BadRecord as bad:
            raise DataError(f"{source.name}, record {source.key(row)}: {bad}") from bad
        if any(len(own) != 1 for own in texts):
            raise DataError(f"{source.name}, record {source.key(row)} has no class")
        found.append(tuple(own[0] for own in texts))
    return found
