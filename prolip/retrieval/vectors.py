"""The numbers of a collection by row: a block of consecutive rows, or some rows; file or memory."""

import dataclasses
import mmap
import os
import sys
import weakref
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from prolip.data.records import DataError

ALIGNMENT = 64  # Bytes; JAX uses a NumPy array in place on a CPU only from such an address on.
POPULATE_READ = 22  # Linux, MADV_POPULATE_READ: read now what is mapped, and fail if it can't be.


class Block(NamedTuple):
    """Rows of a collection, in the width that they are stored in."""

    mean: np.ndarray  # Float32 or float16 [rows dim]
    uncertainty: np.ndarray  # Float32 [rows]


class Column(Protocol):
    """One number or one vector for each row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers."""

    def read(self, start: int, out: np.ndarray) -> None:
        """Fills `out` with the rows from `start` on; may run in any thread."""

    def block(self, start: int, out: np.ndarray) -> np.ndarray:
        """As many rows as `out` has: in `out`, or where they are if that costs no copy."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copies of some rows."""


class ArrayColumn:
    """In memory."""

    def __init__(self, array: np.ndarray):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, start: int, out: np.ndarray) -> None:
        """See `Column`."""
        out[:] = self._array[start : start + len(out)]

    def block(self, start: int, out: np.ndarray) -> np.ndarray:
        """See `Column`."""
        return self._array[start : start + len(out)]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """See `Column`."""
        return self._array[rows]


class FileColumn:
    """A raw little-endian file.

    It stays open, so that an index that is built anew does not end the searches of the old one.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...]):
        self.shape, self.dtype = shape, dtype
        self._path = path
        self._file = os.open(path, os.O_RDONLY)
        self._row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
        weakref.finalize(self, os.close, self._file)

    def read(self, start: int, out: np.ndarray) -> None:
        """See `Column`.

        Raises:
          DataError: the file ends before the rows do.
        """
        rest = memoryview(out.reshape(-1).view(np.uint8).data)
        position = start * self._row_bytes
        while rest:
            count = os.preadv(self._file, [rest], position)
            if count == 0:
                raise DataError(f"{self._path} is damaged: it ends at byte {position}")
            rest, position = rest[count:], position + count

    def block(self, start: int, out: np.ndarray) -> np.ndarray:
        """See `Column`. A block of the file is mapped, and unmapped when nobody holds it any more.

        Reading takes 0.4 of the time of the product with a hundred queries, mapping 0.1. All pages
        are asked for here: later, one that can't be read would kill the process.
        """
        if sys.platform != "linux" or out.size == 0:
            self.read(start, out)
            return out
        first = start * self._row_bytes
        before = first % mmap.ALLOCATIONGRANULARITY
        try:
            mapped = mmap.mmap(
                self._file, before + out.nbytes, prot=mmap.PROT_READ, offset=first - before
            )
            mapped.madvise(POPULATE_READ)
        except (OSError, ValueError):  # An old kernel, no such file system, or a file cut short.
            self.read(start, out)
            return out
        return np.frombuffer(mapped, self.dtype, out.size, before).reshape(out.shape)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """See `Column`."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for i, row in enumerate(rows):
            self.read(int(row), out[i : i + 1])
        return out


@dataclasses.dataclass(frozen=True)
class Vectors:
    """A collection's Gaussians."""

    mean: Column  # [rows dim], of unit length.
    uncertainty: Column  # [rows]

    @property
    def count(self) -> int:
        """Rows."""
        return self.mean.shape[0]

    @property
    def dim(self) -> int:
        """Length of a mean."""
        return self.mean.shape[1]

    def buffer(self, rows: int) -> Block:
        """Room for a block; zeros, so that what a short last block leaves is finite."""
        columns = (self.mean, self.uncertainty)
        return Block(*(_aligned((rows, *c.shape[1:]), c.dtype) for c in columns))

    def block(self, start: int, buffer: Block) -> Block:
        """As many rows as a buffer has, in it or elsewhere; the last ones fill a part of it."""
        number = min(len(buffer.mean), self.count - start)

        def rows(column: Column, out: np.ndarray) -> np.ndarray:
            if number == len(out):
                return column.block(start, out)
            column.read(start, out[:number])
            return out

        return Block(rows(self.mean, buffer.mean), rows(self.uncertainty, buffer.uncertainty))

    def take(self, rows: np.ndarray) -> Block:
        """Some rows."""
        return Block(self.mean.take(rows), self.uncertainty.take(rows))


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % ALIGNMENT
    return raw[offset : offset + size].view(dtype).reshape(shape)
