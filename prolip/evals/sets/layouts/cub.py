"""CUB-200-2011 as in CUB_200_2011.tgz: lists of numbers beside a folder of images."""

from pathlib import Path

from prolip.data.files.names import printable
from prolip.data.files.reading import read_file
from prolip.data.records import DataError
from prolip.evals.sets import class_names
from prolip.evals.sets.listing import Listing, labelled

ARCHIVE = "CUB_200_2011"


def read(root: Path) -> Listing:
    """The test part in the order of the images' numbers; a name is a bird's without its number.

    Args:
      root: the archive's folder, or the one that holds it.

    Raises:
      DataError: a list is missing or of another form.
    """
    folder = root / ARCHIVE if (root / ARCHIVE).is_dir() else root
    paths, label_of, is_train, classes = (
        _pairs(folder / name)
        for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
    )
    test = [number for number in paths if is_train.get(number) == "0"]
    if missing := [n for n in test if label_of.get(n) not in classes]:
        raise DataError(f"{printable(folder)}: no list says which class image {missing[0]} is of")
    return labelled(
        [paths[number] for number in test],
        lambda row: read_file(folder / "images" / paths[test[row]]),
        [classes[label_of[number]] for number in test],
        list(classes.values()),
        [name.partition(".")[2].replace("_", " ") or name for name in classes.values()],
    )


def _pairs(path: Path) -> dict[str, str]:
    """Lines of a number, a blank and a word."""
    pairs = [line.split(None, 1) for line in class_names.lines(path)]
    if wrong := [pair for pair in pairs if len(pair) != 2]:
        raise DataError(f"{printable(path)} has a line {' '.join(wrong[0])!r}, not two words")
    return {number: word.strip() for number, word in pairs}
