"""ImageNet's validation images as they are in ILSVRC2012_img_val.tar: one folder, no classes.

Their classes are taken from what lies beside them, or below it, the first that is there:

- `LOC_val_solution.csv`, as on Kaggle: `ILSVRC2012_val_00048981,n03995372 85 1 499 272`;
- `val.txt`: `ILSVRC2012_val_00000001.JPEG 65` (class number from 0) or `... n01751748`;
- the list of the validation part that tensorflow-datasets brings along, by the number in the
  file's name. `ILSVRC2012_validation_ground_truth.txt`, whose numbers are those of the development
  kit, is checked against it.
"""

import importlib.util
import os
import re
from pathlib import Path

from prolip.data.files.names import is_image_name, printable
from prolip.data.files.reading import read_file
from prolip.data.records import DataError
from prolip.evals.sets import class_names
from prolip.evals.sets.listing import Listing, labelled

SOLUTION, LIST = "LOC_val_solution.csv", "val.txt"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+")
SHIPPED = Path("datasets", "imagenet2012", "validation_labels.txt")


def is_flat(root: Path) -> bool:
    """Whether images lie in the folder itself."""
    with os.scandir(root) as entries:
        return any(is_image_name(entry.name) and not entry.is_dir() for entry in entries)


def read(root: Path) -> Listing:
    """The images in the order of their names.

    Raises:
      DataError: a file that names the classes is of another form, or lacks an image.
    """
    files = sorted(name for name in os.listdir(root) if is_image_name(name))
    own = _labels(root, files)
    names = class_names.imagenet()
    if missing := [name for name in files if name not in own]:
        raise DataError(f"no file says which class {printable(missing[0])} is of")
    return labelled(
        [printable(name) for name in files],
        lambda row: read_file(root / files[row]),
        [own[name] for name in files],
        list(names),
        list(names.values()),
    )


def _labels(root: Path, files: list[str]) -> dict[str, str]:
    """File name to WordNet id."""
    solution, listed = _beside(root, SOLUTION), _beside(root, LIST)
    if solution is not None:
        rows = [line.split(",", 1) for line in class_names.lines(solution)[1:]]
        stems = {row[0]: row[1].split()[0] for row in rows if len(row) == 2 and row[1].strip()}
        return {name: stems[name.split(".")[0]] for name in files if name.split(".")[0] in stems}
    if listed is not None:
        return _listed(listed)
    shipped = validation_labels()
    if (truth := _beside(root, TRUTH)) is not None:
        _check(truth, shipped)
    numbers = {name: NUMBERED.fullmatch(name) for name in files}
    return {
        name: shipped[int(match[1]) - 1]
        for name, match in numbers.items()
        if match is not None and 0 < int(match[1]) <= len(shipped)
    }


def validation_labels() -> list[str]:
    """WordNet ids of the 50,000 images in the order of their names; nothing is imported.

    Source: tensorflow-datasets, `datasets/imagenet2012/validation_labels.txt` (Apache-2.0).

    Raises:
      DataError: the installed package has no such file.
    """
    spec = importlib.util.find_spec("tensorflow_datasets")
    places = (spec and spec.submodule_search_locations) or []
    path = next((Path(place) / SHIPPED for place in places), SHIPPED)
    if not path.is_file():
        raise DataError(f"the installed tensorflow-datasets has no {SHIPPED}; put {LIST} beside")
    return class_names.lines(path)


def _listed(path: Path) -> dict[str, str]:
    by_number = list(class_names.imagenet())
    found = {}
    for line in class_names.lines(path):
        name, _, label = line.rpartition(" ")
        if label.isdecimal() and int(label) < len(by_number):
            label = by_number[int(label)]
        if not name or label not in class_names.imagenet():
            raise DataError(
                f"{printable(path)} has a line {line!r}; write the file's name, a blank, and its "
                "class number from 0 or its WordNet id"
            )
        found[name.strip().rpartition("/")[2]] = label
    return found


def _check(path: Path, shipped: list[str]) -> None:
    """The kit's numbers are of another order, but one number must always mean one class."""
    given = class_names.lines(path)
    pairs = set(zip(given, shipped, strict=False))
    if len(given) != len(shipped) or not len(pairs) == len(set(given)) == len(set(shipped)):
        raise DataError(f"{printable(path)} is not the ground truth of the 50,000 images of 2012")


def _beside(root: Path, name: str) -> Path | None:
    places = (root, root.parent, root / "data", root.parent / "data")
    return next((place / name for place in places if (place / name).is_file()), None)
