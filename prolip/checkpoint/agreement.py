"""One decision for all processes, and comparison of what each of them has."""

import hashlib

import jax
import numpy as np


def agree(value: int) -> int:
    """What process 0 says, on every process; every process must call it."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    # As bytes: without 64-bit mode a large step would not fit.
    mine = np.frombuffer(np.int64(value).tobytes(), np.uint8)
    return int(np.asarray(multihost_utils.broadcast_one_to_all(mine)).view(np.int64)[0])


def differing(said: bytes) -> list[int]:
    """Numbers of the processes that say something else than process 0; every process calls it."""
    if jax.process_count() == 1:
        return []
    from jax.experimental import multihost_utils

    mine = np.frombuffer(hashlib.sha256(said).digest(), np.uint8)
    of_all = np.asarray(multihost_utils.process_allgather(mine))
    return np.flatnonzero((of_all != of_all[0]).any(axis=1)).tolist()


def texts_of_all(text: str) -> list[str]:
    """The text of each process, by its number; every process calls it."""
    if jax.process_count() == 1:
        return [text]
    from jax.experimental import multihost_utils

    data = text.encode()
    lengths = np.asarray(multihost_utils.process_allgather(np.int32(len(data))))
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [row[:n].tobytes().decode() for row, n in zip(rows, lengths.tolist(), strict=True)]
