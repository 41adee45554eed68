"""One decision for all processes."""

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
