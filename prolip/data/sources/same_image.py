"""Which rows of a table have the same image, by the path that each row gives."""

import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class SameImage:
    """Rows grouped by the path of their image; nothing is kept where no path repeats.

    Args:
      columns: For each file its column of paths, or None where there is none to group by.
      folders: For each file the folder that its paths start from.

    Attributes:
      note: A sentence with the number of images where some repeat, else "".
    """

    note = ""

    def __init__(self, columns: Sequence[pa.ChunkedArray | None], folders: Sequence[str]):
        self._code: np.ndarray | None = None
        given_columns = [column for column in columns if column is not None]
        paths = _joined(given_columns, folders) if len(given_columns) == len(columns) else None
        if paths is None:
            return
        rows = len(paths)
        given = np.flatnonzero(paths.is_valid())
        code = np.asarray(pc.dictionary_encode(paths.drop_null().combine_chunks()).indices)
        count = np.bincount(code)
        if not len(count) or count.max() == 1:
            return
        self._begin = np.concatenate([[0], np.cumsum(count)])
        self._rows = given[np.argsort(code, kind="stable")].astype(np.int32)
        self._code = np.full(rows, -1, np.int32)
        self._code[given] = code
        images = "1 image appears" if len(count) == 1 else f"{len(count):,} images appear"
        self.note = (
            f"{images} in {len(given):,} rows; the captions of all rows of an "
            "image are its captions"
        )

    def others(self, row: int) -> list[int]:
        """Numbers of the other rows with the image of a row, ascending."""
        code = -1 if self._code is None else int(self._code[row])
        if code < 0:
            return []
        rows = self._rows[self._begin[code] : self._begin[code + 1]]
        return rows[rows != row].tolist()


def _joined(columns: Sequence[pa.ChunkedArray], folders: Sequence[str]) -> pa.ChunkedArray | None:
    """Paths of all files as bytes, null where there is none; None if a column has no texts."""
    kind = pa.large_binary()
    slash, chunks = pa.scalar(b"/", kind), []
    for column, folder in zip(columns, folders, strict=True):
        try:
            # Bytes: a text that is not UTF-8 spoils its own row only.
            paths = pc.cast(column, kind)
        except pa.ArrowException:
            return None
        paths = pc.if_else(pc.not_equal(paths, b""), paths, pa.scalar(None, kind))
        if len(set(folders)) > 1:
            prefix = pa.scalar(os.fsencode(folder), kind)
            paths = pc.binary_join_element_wise(prefix, paths, slash)
        chunks += paths.chunks
    return pa.chunked_array(chunks, kind)
