"""Learned positions for another length of text or another size of image.

Source: LongProLIP (arXiv 2503.08048) and naver-ai/prolip `src/prolip/model.py`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from prolip.config import ConfigError, ModelConfig
from prolip.models.heads import extra_tokens
from prolip.models.two_tower import FREE, Params

KEPT = 20  # First positions of a text, which training has seen most often; they stay.


def text_positions(old: np.ndarray, length: int, num_extra: int) -> np.ndarray:
    """Positions of a text tower for texts of another length.

    The first 20 and those of [UNC] and [CLS] stay; those between are stretched linearly, with
    half-pixel centres and without antialiasing. A tower of 20 positions or fewer is stretched as a
    whole. The released code does the first for more than 127 rows, and below stretches all rows,
    [UNC] and [CLS] too, which gives these a mixture of neighbours.

    Args:
      old: float [old length + num_extra, width].
      length: new length, without the extra tokens.
      num_extra: tokens at the end that have positions of their own.

    Returns:
      Float [length + num_extra, width], in the dtype of `old`.
    """
    end = len(old) - num_extra
    if end == length:
        return old
    kept = min(KEPT, length) if end > min(KEPT, length) else 0
    return np.concatenate([old[:kept], linear(old[kept:end], length - kept), old[end:]])


def image_positions(old: np.ndarray, grid: int, num_extra: int) -> np.ndarray:
    """Positions of an image tower for another number of patches.

    Bicubic with antialiasing; those of [CLS] and [UNC] stay (the released code takes them from a
    random initialisation).

    Args:
      old: float [num_extra + side * side, width], patches row by row.
      grid: new number of patches a side.
      num_extra: tokens at the start that have positions of their own.

    Returns:
      Float [num_extra + grid * grid, width], in the dtype of `old`.
    """
    extra, patches = old[:num_extra], old[num_extra:]
    side = round(len(patches) ** 0.5)
    if side * side != len(patches):
        raise ConfigError(f"{len(patches)} positions of patches are not those of a square")
    if side == grid:
        return old
    return np.concatenate([extra, bicubic(patches, (side, side), (grid, grid))])


def linear(rows: np.ndarray, count: int) -> np.ndarray:
    """Rows [n, width] to [count, width], linearly, half-pixel centres, no antialiasing."""
    if len(rows) == 0 or count == 0:
        return rows[:count]
    return _resize(rows, (count, rows.shape[1]), "linear", antialias=False)


def bicubic(rows: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Rows [old height * old width, dim] of a grid to another grid, bicubic, antialiased."""
    picture = rows.reshape(*old, -1)
    shape = (*new, picture.shape[-1])
    return _resize(picture, shape, "cubic", antialias=True).reshape(new[0] * new[1], -1)


def fit(params: Params, old: ModelConfig, new: ModelConfig) -> Params:
    """Parameters of a model of `old` for one of `new`, which differs in length and image size.

    Of an adapter over a deterministic model, those that `old` has: all but the log-variances'.

    Raises:
      ConfigError: it differs in something that no stretching can change; all of it is named.
    """
    if new.heads == "adapter" and old.heads in ("paper", "released"):
        raise ConfigError(
            f"config.init_from has variances of its own (heads={old.heads}), and an adapter gives "
            f"them to a deterministic model; --config.model.heads={old.heads} with "
            "--config.optimizer.frozen=towers trains only what makes its log_var"
        )
    if new.heads == "adapter":  # The same towers.
        old = dataclasses.replace(old, heads="adapter")
    size = {"image_size": new.image.image_size}
    wrong = [
        f"{name}.{key}: {getattr(a, key)!r} there, {getattr(b, key)!r} here"
        for name, a, b, free in (
            ("config.model", old, new, {"image", "text", *FREE}),
            ("config.model.image", old.image, new.image, set(size)),
            ("config.model.text", old.text, new.text, {"length"}),
        )
        for key in a.__dataclass_fields__
        if key not in free and getattr(a, key) != getattr(b, key)
    ]
    if wrong:
        raise ConfigError("the weights are of another model: " + "; ".join(wrong))
    num_extra = extra_tokens(new.heads)
    grid = new.image.image_size // new.image.patch
    image, text = params["image"], params["text"]
    return {
        **params,
        "image": {**image, "positions": image_positions(image["positions"], grid, num_extra)},
        "text": {
            **text,
            "positions": text_positions(text["positions"], new.text.length, num_extra),
        },
    }


def _resize(
    rows: np.ndarray, shape: tuple[int, ...], method: str, *, antialias: bool
) -> np.ndarray:
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.default_device(cpu):
        resized = jax.image.resize(jnp.asarray(rows), shape, method, antialias=antialias)
    return np.asarray(resized, rows.dtype)
