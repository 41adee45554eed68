"""Collections of `prolip embed` in memory, and which text belongs to which image."""

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prolip.data.files.frames import FRAMES
from prolip.data.records import DataError
from prolip.data.text import clean
from prolip.gaussian import Gaussian
from prolip.retrieval.embeddings import Manifest, item_numbers, read_manifest, read_rows

TFDS = "tfds:"
HASHED = 8192  # Rows at a time: 16 bytes for each number of them.
ROW = re.compile(r"::(?P<row>\d+)(?P<text>/\d+)?")


class Embedded(NamedTuple):
    """A whole collection."""

    directory: Path
    manifest: Manifest
    ids: tuple[str, ...]
    texts: tuple[str | None, ...]
    uris: tuple[str | None, ...]
    mean: np.ndarray  # Float32[rows, dim], of unit length.
    uncertainty: np.ndarray  # Float32[rows], trace of the covariance.
    log_var: np.ndarray | None  # Float32[rows, dim]; None where it is not there or not wanted.

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def records(self) -> list[str]:
        """For each row the id of its record: one of several texts of it is `record/number`."""
        if self.manifest.kind == "text" and self.manifest.source.startswith(TFDS):
            return [id_.partition("/")[0] for id_ in self.ids]
        texts = [place["text"] if place else None for place in self.rows]
        return [
            id_ if text is None else id_.removesuffix(text)
            for id_, text in zip(self.ids, texts, strict=True)
        ]

    @property
    def rows(self) -> list[re.Match[str] | None]:
        """For each row `row` of the table, and `text`, "/number" where that has several texts.

        None where the collection is of no table, or of images that are files.
        """
        source = self.manifest.source
        if os.path.splitext(source)[1].lower() not in FRAMES:
            return [None] * len(self)
        return [ROW.fullmatch((uri or "").removeprefix(source)) for uri in self.uris]


def read(directory: str | Path, *, log_var: bool = False) -> Embedded:
    """Reads a collection whole.

    Args:
      directory: of `prolip embed`.
      log_var: also keep the variance of each dimension, where the collection has it.

    Raises:
      DataError: it is unfinished, damaged or empty.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    parts: list[Any] = []
    for rows in read_rows(directory, manifest, columns=["uri", "text"]):
        kept = rows.gaussian.log_var if log_var else None
        parts.append((rows.ids, rows.texts, rows.uris, rows.gaussian.mean, rows.uncertainty, kept))
    if not parts:
        raise DataError(f"{directory} is an empty collection")
    ids, texts, uris, mean, uncertainty, log_vars = zip(*parts, strict=True)
    return Embedded(
        directory,
        manifest,
        tuple(itertools.chain.from_iterable(ids)),
        tuple(itertools.chain.from_iterable(texts)),
        tuple(itertools.chain.from_iterable(uris)),
        np.concatenate(mean),
        np.concatenate(uncertainty),
        None if log_vars[0] is None else np.concatenate(log_vars),
    )


def gaussian(side: Embedded, rows: np.ndarray | slice = slice(None)) -> Gaussian:
    """Some rows as NumPy Gaussians.

    Raises:
      DataError: the collection has no variance of each dimension, or is one of points.
    """
    if side.log_var is None or not np.isfinite(side.log_var).all():
        raise DataError(
            f"{side.directory} has no variance of each dimension: embed with `--variance log_var` "
            "and a model that has variances"
        )
    mean: Any = side.mean[rows]
    log_var: Any = side.log_var[rows]
    return Gaussian(mean, log_var)


def same_model(images: Embedded, texts: Embedded) -> None:
    """Raises DataError unless both are of one model."""
    if images.manifest.model.weights != texts.manifest.model.weights:
        raise DataError(
            f"{images.directory} and {texts.directory} are of different models "
            f"({images.manifest.checkpoint}, {texts.manifest.checkpoint})"
        )


def image_of_text(images: Embedded, texts: Embedded) -> np.ndarray:
    """Int64[texts]: row of the image of the same record; -1 where no image has its id.

    Raises:
      DataError: no text has one.
    """
    row = {record: number for number, record in enumerate(images.records)}
    found = np.array([row.get(record, -1) for record in texts.records], np.int64)
    if not (found >= 0).any():
        raise DataError(
            f"no text of {texts.directory} has the id of an image of {images.directory}: the first "
            f"ids are {texts.ids[0]!r} and {images.ids[0]!r}. Embed both from the same records; a "
            "table of texts names its images with --id-column"
        )
    return found


def distinct_images(images: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the different images of a collection, in the order of their first rows.

    Rows are of one image where they have the same path, as in a table with a row for each caption,
    or the same embedding to the last bit, as copies of a file have.

    Returns:
      Int64[rows], the number of each row's image; Int64[images], the first row of each image.
    """
    first_of_uri: dict[str, int] = {}
    uris = enumerate(images.uris)
    rows = np.array([row if u is None else first_of_uri.setdefault(u, row) for row, u in uris])
    _, first, number = np.unique(_hashes(images)[rows], return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[number], first[order]


def _hashes(images: Embedded) -> np.ndarray:
    """UInt64[rows]: equal where means and uncertainties are; a sum of products modulo 2^64."""
    factors = np.random.default_rng(0).integers(2**64, size=images.mean.shape[1] + 1, dtype="u8")
    hashes = [np.zeros(0, np.uint64)]
    for start in range(0, len(images), HASHED):
        block = slice(start, start + HASHED)
        values = np.c_[images.mean[block], images.uncertainty[block]].astype(np.float32)
        words = values.view(np.uint32).astype(np.uint64)
        hashes.append((words * (factors | np.uint64(1))).sum(1, dtype=np.uint64))
    return np.concatenate(hashes)


def training_keys(side: Embedded) -> list[str]:
    """For each row a key by which `data.keep_keys` finds the record.

    Of a table it is the name of the file and the row from 0, without the folder that goes before it
    where a run reads several folders; of everything else the record's id.

    Raises:
      DataError: the collection is damaged.
    """
    name = os.path.basename(side.manifest.source)
    if os.path.splitext(name)[1].lower() not in FRAMES:
        return side.records
    # Not the ids, which may be numbers of another kind.
    numbers = item_numbers(side.directory, side.manifest)
    return [
        f"{name}::{place['row'] if place else number}"
        for number, place in zip(numbers.tolist(), side.rows, strict=True)
    ]


def canonical(texts: Sequence[str | None]) -> list[str]:
    """Texts as they are compared: without case, punctuation and repeated blanks."""
    return [clean(text or "", "canonicalize") for text in texts]
