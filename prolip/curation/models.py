"""The same images and texts as several models embed them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from prolip.config import ConfigError
from prolip.curation.embedded import Embedded, read
from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval.search import exact_search
from prolip.retrieval.vectors import ArrayColumn, Vectors

LEAST_SHARED = 0.5  # Of the items; below, the collections are not of the same data.


class Embedder(NamedTuple):
    """One model's collections."""

    images: Embedded
    texts: Embedded

    @property
    def name(self) -> str:
        """Where the model came from."""
        return self.texts.manifest.checkpoint or self.texts.manifest.model.weights[:12]


def read_pairs(directories: Sequence[str]) -> list[Embedder]:
    """Collections of images and of texts, joined by their model, in the order of the first.

    Raises:
      ConfigError: a model has not one collection of images and one of texts.
      DataError: a collection can't be read.
    """
    by_model: dict[str, dict[str, Embedded]] = {}
    for directory in directories:
        side = read(directory)
        sides = by_model.setdefault(side.manifest.model.weights, {})
        if side.manifest.kind in sides:
            raise ConfigError(
                f"{sides[side.manifest.kind].directory} and {directory} are both "
                f"{side.manifest.kind}s of one model; name one of images and one of texts"
            )
        sides[side.manifest.kind] = side
    for sides in by_model.values():
        if len(sides) < 2:
            kind, only = next(iter(sides.items()))
            other = "image" if kind == "text" else "text"
            raise ConfigError(f"{only.directory} has {kind}s; name the {other}s of its model too")
    return [Embedder(sides["image"], sides["text"]) for sides in by_model.values()]


def rankings(
    models: Sequence[Embedder], queries: np.ndarray, distinct: np.ndarray, k: int
) -> tuple[list[np.ndarray], list[str]]:
    """The first k images of each text by each model.

    Args:
      models: the first one numbers images and texts.
      queries: Int[queries], rows of texts.
      distinct: Int[images], a row of each different image; targets are numbers of these.
      k: images of a text.

    Returns:
      For each model Int64[queries, k], -1 after the last; and sentences on what others lack.

    Raises:
      DataError: a model's collections are of other data.
    """
    first, notes, found = models[0], [], []
    for model in models:
        images, image_note = _rows(first.images, model.images)
        texts, text_note = _rows(first.texts, model.texts)
        notes += [note for note in (image_note, text_note) if note]
        found.append(_search(model, texts[queries], images[distinct], k))
    return found, notes


def _search(model: Embedder, rows: np.ndarray, images: np.ndarray, k: int) -> np.ndarray:
    """Int64[rows, k]: positions among `images`, which are rows too; -1 where there is none."""
    texts, known = model.texts, np.flatnonzero(images >= 0)
    mean, uncertainty = model.images.mean, model.images.uncertainty
    if not np.array_equal(images, np.arange(len(mean))):
        mean, uncertainty = mean[images[known]], uncertainty[images[known]]
    vectors = Vectors(ArrayColumn(mean), ArrayColumn(uncertainty))
    result = np.full((len(rows), k), -1, np.int64)
    there = rows >= 0
    asked: Any = texts.mean[rows[there]]
    gaussian = Gaussian(asked, np.full_like(asked, -np.inf))
    best = exact_search(vectors, gaussian, k, "csd").row
    result[there, : best.shape[1]] = np.where(best >= 0, known[best], -1)
    return result


def _rows(first: Embedded, other: Embedded) -> tuple[np.ndarray, str]:
    """Int64[rows of the first]: rows of the same ids in the other; -1 where there is none."""
    if first.ids == other.ids:
        return np.arange(len(first)), ""
    row = {id_: number for number, id_ in enumerate(other.ids)}
    found = np.array([row.get(id_, -1) for id_ in first.ids], np.int64)
    shared = int((found >= 0).sum())
    if shared < LEAST_SHARED * max(len(first), len(other)):
        raise DataError(
            f"{other.directory} and {first.directory} are of different data: {shared:,} of "
            f"{len(first):,} and {len(other):,} ids are the same"
        )
    if first.manifest.kind == "text":
        differ = [i for i in np.flatnonzero(found >= 0) if first.texts[i] != other.texts[found[i]]]
        if differ:
            raise DataError(
                f"{other.directory} has another text than {first.directory} under the id "
                f"{first.ids[differ[0]]!r}"
            )
    return found, f"{other.directory} has {shared:,} of the {len(first):,} ids"
