"""Comparisons of all pairs, a block at a time, for collections whose matrix a device can't hold."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from prolip.gaussian import Gaussian

Compare = Callable[[Gaussian, Gaussian], jax.Array]


def in_blocks(compare: Compare, a: Gaussian, b: Gaussian, *, block: int = 1024) -> np.ndarray:
    """`compare(a, b)` on the host, computed in blocks of at most [block, block] on the device.

    The last block is filled up, so that one program serves all of them whatever the sizes.

    Args:
      compare: such as `prolip.csd`, `prolip.similarity` or `prolip.inclusion`; it is compiled once
        for each function object, so options go in by a `functools.partial` that is kept.
      a: N Gaussians, arrays of NumPy or JAX.
      b: M Gaussians.
      block: rows and columns at a time.

    Returns:
      NumPy array [N, M].

    Raises:
      ValueError: `block` is less than 1, or the Gaussians have not the same dimension.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    rows, columns = (np.shape(x.mean) for x in (a, b))
    if rows[1:] != columns[1:]:
        raise ValueError(f"Gaussians of {rows[-1]} and {columns[-1]} dimensions don't compare")
    height, width = min(block, max(rows[0], 1)), min(block, max(columns[0], 1))
    run = _jitted(compare)
    result: np.ndarray | None = None
    for top in range(0, max(rows[0], 1), height):
        above = _part(a, top, height)
        for left in range(0, max(columns[0], 1), width):
            part = np.asarray(run(above, _part(b, left, width)))
            if result is None:
                result = np.empty((rows[0], columns[0]), part.dtype)
            inside = result[top : top + height, left : left + width]
            inside[...] = part[: inside.shape[0], : inside.shape[1]]
    assert result is not None
    return result


@functools.lru_cache(maxsize=32)
def _jitted(compare: Compare) -> Any:
    return jax.jit(compare)


def _part(gaussian: Gaussian, start: int, size: int) -> Gaussian:
    def cut(x: Any) -> Any:
        part = np.asarray(x[start : start + size])
        fill = [(0, size - len(part)), *((0, 0),) * (part.ndim - 1)]
        return np.pad(part, fill)

    return Gaussian(cut(gaussian.mean), cut(gaussian.log_var))
