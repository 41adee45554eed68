"""A set's images as a model takes them, decoded ahead by threads."""

import collections
import dataclasses
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from prolip.data.image import Preprocessing, inference_image
from prolip.data.records import BadRecord, DataError
from prolip.evals.sets.listing import Listing

AHEAD = 2  # Batches that are decoded before they are asked for.


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Images of a listing, preprocessed."""

    listing: Listing
    preprocessing: Preprocessing
    threads: int = 4

    def images(self, batch: int, part: tuple[int, int] = (0, 1)) -> Iterator[np.ndarray]:
        """UInt8[at most batch, size, size, 3] in order; the last one may be smaller.

        Args:
          batch: images of a batch.
          part: (i, n) for batches i, i + n, i + 2n ... alone: what one of n processes reads.

        Raises:
          DataError: an image can't be decoded; names it.
        """
        index, count = part
        waiting: collections.deque[list[Future[np.ndarray]]] = collections.deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for start in range(index * batch, len(self.listing), count * batch):
                rows = range(start, min(start + batch, len(self.listing)))
                waiting.append([pool.submit(self._load, row) for row in rows])
                if len(waiting) > AHEAD:
                    yield _stacked(waiting.popleft())
            while waiting:
                yield _stacked(waiting.popleft())

    def _load(self, row: int) -> np.ndarray:
        try:
            image = self.listing.open(row)
            return inference_image(image, self.preprocessing.image_size, self.preprocessing.form)
        except BadRecord as bad:
            raise DataError(
                f"{self.listing.keys[row]}: {bad}; mend it, or go on without by partial=yes"
            ) from bad


def readable(listing: Listing, threads: int = 4) -> np.ndarray:
    """Int64[some]: rows whose image can be decoded; all are decoded for it."""

    def good(row: int) -> bool:
        try:
            # Both: of some damaged images only the way to RGB fails.
            inference_image(listing.open(row), 1)
        except BadRecord:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        return np.flatnonzero(list(pool.map(good, range(len(listing)))))


def _stacked(futures: list[Future[np.ndarray]]) -> np.ndarray:
    return np.stack([future.result() for future in futures])
