"""Thumbnails by row. They stay in the Parquet parts: most of a collection is never looked at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prolip.data.records import DataError
from prolip.retrieval.embeddings import Manifest


def read_thumbnails(directory: Path, manifest: Manifest, rows: Sequence[int]) -> list[bytes | None]:
    """JPEG bytes of rows, or None where an item has none; reads the column of each part it needs.

    Raises:
      DataError: a part is missing or damaged.
    """
    result: list[bytes | None] = [None] * len(rows)
    ends = np.cumsum([part.rows for part in manifest.parts])
    part_of = np.searchsorted(ends, rows, side="right")
    for number in np.unique(part_of):
        part = manifest.parts[number]
        path = directory / part.file
        try:
            # Not `pq.read_table`, which takes a folder like `a=b` for a column.
            with pq.ParquetFile(path) as file:
                column = file.read(columns=["thumbnail"]).column("thumbnail")
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{path} is missing or damaged: {error}") from error
        for i in np.flatnonzero(part_of == number).tolist():
            result[i] = column[int(rows[i] - (ends[number] - part.rows))].as_py()
    return result
