"""The folder of an embedded collection: Parquet parts, and a manifest once all of them are there.

    manifest.json        what was embedded, by which model; its presence says that all is done
    part-00007.parquet   rows of consecutive items; in its metadata, the items that failed

Columns: `id` string, unique; `uri` string or null, where the item is found; `text` string or null;
`thumbnail` JPEG bytes or null; `mean` list<float>[dim] of unit length; and either `log_var`
list<float>[dim] or `uncertainty` float32, the trace of the covariance.
"""

import dataclasses
import json
import os
import secrets
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prolip.config import ConfigError, from_dict
from prolip.data.files.reading import file_hash
from prolip.data.image import Form
from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.workdir import write_whole

MANIFEST = "manifest.json"
FORMAT = 1
Kind = Literal["image", "text"]
Width = Literal["float32", "float16"]
Variance = Literal["log_var", "uncertainty"]


@dataclasses.dataclass(frozen=True)
class Identity:
    """What must agree for two embeddings to be comparable; see `prolip.Model.identity`."""

    weights: str  # SHA-256 of architecture and parameters.
    tokenizer: str  # SHA-256 of its files; "" where the model has none.
    preprocessing: str  # Of images: JSON.

    @property
    def image_form(self) -> Form:
        """Form in which images are read, see `data.image.inference_image`."""
        form = json.loads(self.preprocessing).get("form") if self.preprocessing else ""
        return "released" if form == "released" else "exact"


@dataclasses.dataclass(frozen=True)
class Part:
    """A finished file of consecutive items of the collection."""

    file: str
    first_item: int
    items: int  # Embedded and failed ones.
    rows: int  # Embedded ones.
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A whole collection."""

    format: int
    kind: Kind
    count: int  # Rows of all parts.
    failed: int  # Items that could not be embedded; the parts name each.
    dim: int
    width: Width  # Of the numbers in the files.
    variance: Variance
    model: Identity
    checkpoint: str  # Where the model came from, for people.
    source: str  # What was embedded, for people.
    parts: tuple[Part, ...]
    # Images that are embedded otherwise than a viewer shows them, by `data.image.departure`.
    departures: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a collection, in the order of its items."""

    ids: tuple[str, ...]
    gaussian: Gaussian  # NumPy float32; log_var is None where only `uncertainty` was kept.
    uncertainty: np.ndarray  # Float32[rows]
    uris: tuple[str | None, ...]
    texts: tuple[str | None, ...]
    thumbnails: tuple[bytes | None, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Failure:
    """An item that could not be embedded."""

    item: int
    id: str
    reason: str


def part_name(number: int) -> str:
    """File of a part."""
    return f"part-{number:05d}.parquet"


def write_part(
    path: Path,
    rows: Rows,
    failures: Sequence[Failure],
    *,
    first_item: int,
    items: int,
    width: Width,
    variance: Variance,
    departures: Mapping[str, int] | None = None,
) -> None:
    """Writes a part as a whole or not at all; a crash leaves a file of another name."""
    mean = np.asarray(rows.gaussian.mean)
    number = pa.float16() if width == "float16" else pa.float32()
    columns: dict[str, Any] = {
        "id": pa.array(rows.ids, pa.string()),
        "uri": pa.array(rows.uris, pa.string()),
        "text": pa.array(rows.texts, pa.string()),
        "thumbnail": pa.array(rows.thumbnails, pa.binary()),
        "mean": _lists(mean, number),
    }
    if variance == "log_var":
        columns["log_var"] = _lists(np.asarray(rows.gaussian.log_var), number)
    else:
        # Float32 whatever the width: traces below 6e-5 are subnormal in half precision.
        columns["uncertainty"] = pa.array(rows.uncertainty, pa.float32())
    about = {
        "first_item": first_item,
        "items": items,
        "failures": [dataclasses.asdict(failure) for failure in failures],
        **({"departures": dict(departures)} if departures else {}),
    }
    table = pa.table(columns).replace_schema_metadata({"prolip": json.dumps(about)})
    # Not the number of the process: processes of two machines may have the same one.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    # Embeddings are noise to a compressor: dictionaries would only cost time.
    pq.write_table(table, temporary, compression="zstd", use_dictionary=False)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def describe_part(path: Path) -> tuple[Part, list[Failure]]:
    """A finished part, by its footer and its hash.

    Raises:
      DataError: it is damaged, or not such a file.
    """
    first, items, rows, failures = _footer(path)
    return Part(path.name, first, items, rows, file_hash(path)), failures


def _footer(path: Path) -> tuple[int, int, int, list[Failure]]:
    """First item, number of items, number of rows, and the items that have none."""
    try:
        metadata = pq.read_metadata(path)
        about = json.loads(metadata.metadata[b"prolip"])
        failures = [Failure(**failure) for failure in about["failures"]]
        return int(about["first_item"]), int(about["items"]), metadata.num_rows, failures
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged or no part of a collection: {error}") from error


def item_numbers(directory: Path, manifest: Manifest) -> np.ndarray:
    """Int64[rows]: number of the item of each row, from 0; those that failed have no row.

    Raises:
      DataError: a part is damaged.
    """
    numbers = [np.zeros(0, np.int64)]
    for part in manifest.parts:
        *_, failures = _footer(directory / part.file)
        items = np.arange(part.first_item, part.first_item + part.items)
        numbers.append(np.setdiff1d(items, [failure.item for failure in failures]))
        if len(numbers[-1]) != part.rows:
            raise DataError(f"{directory / part.file} is damaged: not all items are accounted for")
    return np.concatenate(numbers)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Says that a collection is whole."""
    values = dataclasses.asdict(manifest)
    if not manifest.departures:  # As earlier versions write it, and read it.
        del values["departures"]
    text = json.dumps(values, indent=1) + "\n"
    write_whole(directory / MANIFEST, text)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a whole collection.

    Raises:
      DataError: there is no collection, it is unfinished or of another format.
    """
    path = directory / MANIFEST
    if not path.is_file():
        unfinished = directory.is_dir() and any(directory.glob("part-*.parquet"))
        again = "an unfinished collection: run the same `prolip embed` again"
        what = again if unfinished else "no collection of `prolip embed`"
        raise DataError(f"{directory} is {what} (it has no {MANIFEST})")
    try:
        values = json.loads(path.read_text(encoding="utf8"))
        if values.get("format") != FORMAT:
            raise DataError(f"{path} has format {values.get('format')}; this is {FORMAT}")
        values["model"] = from_dict(Identity, values["model"], "model")
        values["parts"] = tuple(from_dict(Part, part, "parts") for part in values["parts"])
        for key in ("kind", "width", "variance"):
            choices = typing.get_args({"kind": Kind, "width": Width, "variance": Variance}[key])
            if values[key] not in choices:
                raise DataError(f"{path}: {key} {values[key]!r} is not one of {choices}")
        manifest = Manifest(**values)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if manifest.count != sum(part.rows for part in manifest.parts):
        raise DataError(f"{path} is damaged: its parts have not {manifest.count} rows")
    return manifest


def read_rows(
    directory: Path, manifest: Manifest, batch: int = 8192, columns: Sequence[str] | None = None
) -> Iterator[Rows]:
    """All rows in order, at most `batch` at a time.

    Args:
      directory: Of the collection.
      manifest: From `read_manifest`.
      batch: Rows in memory at a time.
      columns: Names of columns that are wanted; None reads all. `id`, `mean` and the variance are
        always read.

    Raises:
      DataError: a part is missing, damaged, or not the one of the manifest.
    """
    always = ["id", "mean", manifest.variance]
    wanted = None if columns is None else [*always, *columns]
    for part in manifest.parts:
        path = directory / part.file
        if not path.is_file():
            raise DataError(f"{path} is missing")
        if file_hash(path) != part.sha256:
            raise DataError(f"{path} is not the file that {MANIFEST} names: its hash differs")
        try:
            with pq.ParquetFile(path) as file:
                for piece in file.iter_batches(batch, columns=wanted):
                    yield _rows(piece, manifest)
        except (pa.ArrowException, KeyError, ValueError, OSError) as error:
            raise DataError(f"{path} is damaged: {error}") from error


def _rows(piece: Any, manifest: Manifest) -> Rows:
    names = piece.schema.names

    def listed(name: str) -> tuple[Any, ...]:
        return tuple(piece.column(name).to_pylist()) if name in names else (None,) * len(piece)

    def matrix(name: str) -> np.ndarray:
        flat = piece.column(name).flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(piece), manifest.dim).astype(np.float32)

    mean = matrix("mean")
    if manifest.variance == "log_var":
        log_var: Any = matrix("log_var")
        uncertainty = np.exp(log_var).sum(-1)
    else:
        log_var = None
        uncertainty = np.asarray(piece.column("uncertainty").to_numpy(), np.float32)
    return Rows(
        listed("id"),
        Gaussian(typing.cast(Any, mean), log_var),
        uncertainty,
        listed("uri"),
        listed("text"),
        listed("thumbnail"),
    )


def _lists(matrix: np.ndarray, number: Any) -> Any:
    flat = np.ascontiguousarray(matrix).reshape(-1)
    width = np.float16 if number == pa.float16() else np.float32
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.astype(width), number), matrix.shape[1])
