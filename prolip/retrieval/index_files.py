"""The files of an index, inside the folder of its collection.

index/index.json         what is there; replaced in one step, so the index is whole, old or new
index/3f9c01ab/mean      raw little-endian rows; beside it `uncertainty`, `items.arrow`, and
                         where asked for `hnsw.faiss` with `hnsw.rows` and `hnsw.starts`
"""

import contextlib
import dataclasses
import fcntl
import json
import shutil
import typing
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from prolip.checkpoint.durable import sync_directory, sync_tree
from prolip.config import ConfigError, from_dict
from prolip.data.files.reading import file_hash
from prolip.data.records import DataError
from prolip.retrieval import embeddings
from prolip.retrieval.embeddings import MANIFEST, Manifest, Variance, Width
from prolip.retrieval.items import Items, write_items
from prolip.retrieval.rounding import UNROUNDED, Rounding, as_if_unrounded
from prolip.retrieval.vectors import FileColumn, Vectors
from prolip.workdir import write_whole

FOLDER = "index"
DESCRIPTION = "index.json"
FORMAT = 2
READABLE = (1, 2)  # 1 has no `rounding`, and one point of the graph for each item.
MEAN, UNCERTAINTY = "mean", "uncertainty"
ITEMS = "items.arrow"
UNIT_TOLERANCE = 0.005
DTYPES: dict[str, np.dtype] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


@dataclasses.dataclass(frozen=True)
class File:
    """A file of an index."""

    name: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Approximate:
    """How the graph was built, and what it finds of the exact answers."""

    by: Literal["csd", "mean"]
    m: int  # Neighbours of an item; twice as many on the lowest level.
    ef_construction: int
    ef_search: int
    recall: float  # At 10 over distinct items, of `queries` of them moved by noise.
    queries: int
    points: int = 0  # Distinct items; 0 where an older version built the graph.


@dataclasses.dataclass(frozen=True)
class Description:
    """What `index.json` holds."""

    format: int
    manifest: str  # SHA-256 of the collection's.
    folder: str
    count: int
    dim: int
    width: Width
    variance: Variance  # Of the collection.
    uncertainty: dict[str, float]  # Quantiles of the items', to choose a threshold by.
    files: tuple[File, ...]
    approximate: Approximate | None
    rounding: Rounding | None = None  # Where the collection or the index is in half precision.

    @property
    def by_name(self) -> dict[str, File]:
        """Files by name."""
        return {file.name: file for file in self.files}


@contextlib.contextmanager
def new_folder(directory: Path) -> Iterator[Path]:
    """A folder for a new index of a collection, which `publish` keeps; else it is removed.

    Raises:
      DataError: another process is building one.
    """
    root = directory / FOLDER
    root.mkdir(exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"another process is indexing {directory}") from error
        folder = root / uuid.uuid4().hex[:8]
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove_others(root)


def _remove_others(root: Path) -> None:
    """Removes what `index.json` does not name: an older index, or one that came to nothing."""
    try:
        kept = json.loads((root / DESCRIPTION).read_text(encoding="utf8"))["folder"]
    except (OSError, ValueError, KeyError, TypeError):
        kept = None
    for path in root.iterdir():
        if path.is_dir() and path.name != kept:
            shutil.rmtree(path, ignore_errors=True)


def write_columns(
    directory: Path,
    manifest: Manifest,
    folder: Path,
    width: Width,
    progress: Callable[[int], None] = lambda rows: None,
) -> None:
    """Turns the Parquet parts of a collection into files that can be read from any row on.

    Where means are in half precision, a file `UNROUNDED` has them as they were, or could have been.

    Raises:
      DataError: a part is damaged, or an embedding is no Gaussian with a mean of unit length.
    """
    dtype = DTYPES[width]
    with contextlib.ExitStack() as stack:
        halved = "float16" in (manifest.width, width)
        names = [MEAN, UNCERTAINTY, *([UNROUNDED] if halved else [])]
        files = {name: stack.enter_context((folder / name).open("wb")) for name in names}

        def batches() -> Iterator[tuple]:
            for rows in embeddings.read_rows(directory, manifest, columns=["uri", "text"]):
                mean = np.asarray(rows.gaussian.mean)
                # Checked with the rest, though rankings need only its sum.
                log_var = None if manifest.variance != "log_var" else rows.gaussian.log_var
                check_gaussians(mean, log_var, rows.uncertainty, rows.ids)
                files[MEAN].write(mean.astype(dtype).data)
                files[UNCERTAINTY].write(rows.uncertainty.astype("<f4").data)
                if halved:
                    known = manifest.width == "float32"
                    before = mean if known else as_if_unrounded(mean)
                    files[UNROUNDED].write(before.astype("<f4").data)
                yield rows.ids, rows.uris, rows.texts
                progress(len(rows))

        write_items(folder / ITEMS, batches())


def check_gaussians(mean: np.ndarray, log_var: Any, uncertainty: np.ndarray, ids: Any) -> None:
    """Refuses what no search can order.

    Raises:
      DataError: a number that is not finite, or a mean that is not of unit length; the item is
        named.
    """
    finite = np.isfinite(mean).all(-1) & np.isfinite(uncertainty)
    if log_var is not None:
        finite &= np.isfinite(log_var).all(-1)
    length = np.linalg.norm(mean, axis=-1)
    for wrong, reason in (
        (~finite, "is not finite"),
        (~(np.abs(length - 1) < UNIT_TOLERANCE), "has a mean that is not of unit length"),
    ):
        if wrong.any():
            raise DataError(f"the embedding of item {ids[int(np.argmax(wrong))]!r} {reason}")


def publish(
    directory: Path,
    manifest: Manifest,
    folder: Path,
    width: Width,
    approximate: Approximate | None,
    rounding: Rounding | None,
) -> Description:
    """Makes the files of a new folder durable, and then the index of the collection.

    Raises:
      DataError: the collection is not the one that was indexed any more.
    """
    if embeddings.read_manifest(directory) != manifest:
        raise DataError(f"{directory} was embedded again while it was indexed: index it again")
    sync_tree(folder)
    files = [
        File(path.name, path.stat().st_size, file_hash(path)) for path in sorted(folder.iterdir())
    ]
    description = Description(
        format=FORMAT,
        manifest=file_hash(directory / MANIFEST),
        folder=folder.name,
        count=manifest.count,
        dim=manifest.dim,
        width=width,
        variance=manifest.variance,
        uncertainty=_quantiles(folder / UNCERTAINTY),
        files=tuple(files),
        approximate=approximate,
        rounding=rounding,
    )
    text = json.dumps(dataclasses.asdict(description), indent=1) + "\n"
    write_whole(directory / FOLDER / DESCRIPTION, text)
    sync_directory(directory / FOLDER)
    return description


def read_description(directory: Path) -> Description:
    """The index of a collection; the sizes of its files are checked, `check_hashes` reads them.

    Raises:
      DataError: there is none, it is damaged, of another format, or of an older collection.
    """
    path = directory / FOLDER / DESCRIPTION
    if not path.is_file():
        embeddings.read_manifest(directory)  # Says what is wrong with the collection, if anything.
        raise DataError(f"{directory} has no index yet: run `prolip index {directory}`")
    try:
        values = json.loads(path.read_text(encoding="utf8"))
        if values.get("format") not in READABLE:
            raise DataError(f"{path} has format {values.get('format')}; this is {FORMAT}")
        values["files"] = tuple(from_dict(File, file, "files") for file in values["files"])
        if values["approximate"] is not None:
            values["approximate"] = from_dict(Approximate, values["approximate"], "approximate")
        if values.get("rounding") is not None:
            values["rounding"] = from_dict(Rounding, values["rounding"], "rounding")
        if values["width"] not in DTYPES or values["variance"] not in typing.get_args(Variance):
            raise DataError(f"{path} is damaged: {values['width']}, {values['variance']}")
        description = Description(**values)
    except (ConfigError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if description.manifest != file_hash(directory / MANIFEST):
        raise DataError(
            f"{directory} was embedded again since it was indexed: run `prolip index {directory}`"
        )
    for file in description.files:
        found = directory / FOLDER / description.folder / file.name
        size = found.stat().st_size if found.is_file() else None
        if size != file.bytes:
            what = "is missing" if size is None else f"has {size} bytes of {file.bytes}"
            raise DataError(f"{found} {what}: run `prolip index {directory}` again")
    return description


def check_hashes(directory: Path, description: Description) -> None:
    """Reads all files of an index.

    Raises:
      DataError: one is not as it was written.
    """
    for file in description.files:
        path = directory / FOLDER / description.folder / file.name
        if file_hash(path) != file.sha256:
            raise DataError(
                f"{path} is not as it was written: its hash differs. Run `prolip index {directory}`"
            )


def open_columns(folder: Path, count: int, dim: int, width: Width) -> tuple[Vectors, Items]:
    """Numbers and items of the files in a folder."""
    vectors = Vectors(
        FileColumn(folder / MEAN, DTYPES[width], (count, dim)),
        FileColumn(folder / UNCERTAINTY, DTYPES["float32"], (count,)),
    )
    return vectors, Items.open(folder / ITEMS)


def _quantiles(path: Path) -> dict[str, float]:
    values = np.fromfile(path, "<f4")
    quantiles = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "maximum": 1.0}
    if not len(values):
        return {}
    return {name: float(np.quantile(values, q)) for name, q in quantiles.items()}
