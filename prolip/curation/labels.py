"""What is known of candidates: labels that a person saved, or lists of valid pairs."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from prolip.config import ConfigError
from prolip.data.files.frames import FRAMES
from prolip.data.records import BadRecord, DataError

YES, NO, UNSURE, NONE = 1, 0, -1, -2  # NONE: not labelled.
LABELS = {"y": YES, "n": NO, "u": UNSURE}
EQUAL_TEXTS = "equal-texts"
Pair = tuple[str, str]  # Ids of a text and an image.


def read_labels(path: Path, pairs: Sequence[Pair]) -> np.ndarray:
    """Int64[pairs]: labels of the pairs of a sample, from the JSON or the CSV of its page.

    Raises:
      DataError: the file can't be read, labels a pair that the sample doesn't have, or none.
    """
    place = {pair: number for number, pair in enumerate(pairs)}
    found = np.full(len(pairs), NONE, np.int64)
    strangers = 0
    for number, row in enumerate(_label_rows(path)):
        try:
            pair, label = (str(row["text"]), str(row["image"])), LABELS[row["label"]]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}: label {number} is no `text`, `image` and `label` of y, n or u"
            ) from error
        if pair in place:
            found[place[pair]] = label
        else:
            strangers += 1
    if strangers:
        raise DataError(
            f"{path} labels {strangers:,} pairs that this sample doesn't have: name the same "
            "collections in the same order, --k, --sample, --design, --max-queries and --seed"
        )
    if not (found >= NO).any():
        raise DataError(f"{path} labels no pair with y or n")
    return found


def known_codes(
    path: Path,
    texts: Sequence[str],
    images: Mapping[str, int],
    queries: np.ndarray,
    num_images: int,
) -> np.ndarray:
    """Valid pairs of a table with the columns `text` and `image`, as `code`s, ascending.

    Args:
      path: CSV, TSV, JSONL or Parquet; ids as the collections have them.
      texts: ids by row.
      images: number of the image of each id; copies of an image have the same.
      queries: Int[queries], rows of the texts that are asked; pairs of others are passed over.
      num_images: how many images there are.

    Raises:
      ConfigError: no such table or column.
      DataError: no pair is of these collections.
    """
    end = path.suffix.lower()
    if end not in FRAMES or not path.is_file():
        raise ConfigError(
            f"--known: {path} is no table that is there; give {', '.join(FRAMES)} with the columns "
            f"text and image, or {EQUAL_TEXTS}"
        )
    frame = FRAMES[end](path)
    if missing := {"text", "image"} - set(frame.names):
        raise ConfigError(f"--known: {path} has no column {min(missing)!r}")
    columns = frame.read(["text", "image"])
    text_row = {id_: row for row, id_ in enumerate(texts)}
    query = {int(row): number for number, row in enumerate(queries)}
    codes, of_the_data = [], 0
    for i in range(len(columns[0])):
        try:
            text, image = (str(column[i]) for column in columns)
        except BadRecord as error:
            raise DataError(f"--known: row {i} of {path}: {error}") from error
        if text in text_row and image in images:
            of_the_data += 1
            if text_row[text] in query:
                codes.append(code(query[text_row[text]], images[image], num_images))
    if not of_the_data:
        raise DataError(f"--known: no pair of {path} has ids of these collections")
    return np.unique(np.array(codes, np.int64))


def equal_text_codes(
    texts: Sequence[str], image: np.ndarray, queries: np.ndarray, num_images: int
) -> np.ndarray:
    """Pairs of a text and the images of all texts that are equal to it, as `code`s, ascending.

    Args:
      texts: as they are compared, by row.
      image: Int[texts], of each text; -1 has none.
      queries: Int[queries], rows of the texts that are asked.
      num_images: how many images there are.
    """
    images: dict[str, list[int]] = {}
    for text, own in zip(texts, image.tolist(), strict=True):
        if own >= 0:
            images.setdefault(text, []).append(own)
    rows = [np.unique(images[texts[row]]) for row in queries.tolist()]
    codes = [code(number, row, num_images) for number, row in enumerate(rows)]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *codes]))


def code(query: np.ndarray | int, image: np.ndarray | int, num_images: int) -> np.ndarray:
    """A number for a pair of a query and an image."""
    return np.asarray(query, np.int64) * num_images + image


def _label_rows(path: Path) -> Iterable[dict]:
    try:
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            return list(csv.DictReader(io.StringIO(content, newline="")))
        values = json.loads(content)
        return values["labels"] if isinstance(values, dict) else values
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(f"--labels: {path} can't be read: {error}") from error
