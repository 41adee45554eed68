"""Random crops and colours of training images, as a pure function of uniform numbers.

The transforms are those of torchvision as open_clip uses them (random resized crop, flip, colour
jitter in random order, grey scale). Each change of colour is an affine map of RGB, so that all of
them together are one for each image, applied after the resize and rounded once.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from prolip.config import AugmentConfig
from prolip.data.image import last_rgb

CROP_TRIES = 10
# What each number of a row decides: flip, jitter, grey, strength of each change (4), their order
# (4), place of the crop (2), area and ratio of each try.
NUM_DRAWS = 13 + 2 * CROP_TRIES
Box = tuple[int, int, int, int]

GREY = np.tile(np.array([0.299, 0.587, 0.114]), (3, 1))  # ITU-R 601-2 luma, as in Pillow's "L".
# Rotation of colours about grey at constant luma: `hueRotate` of W3C Filter Effects.
LUMA = np.tile(np.array([0.213, 0.715, 0.072]), (3, 1))
CROSS = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])


def augment(
    images: Sequence[Image.Image], size: int, config: AugmentConfig, draws: np.ndarray
) -> np.ndarray:
    """Random views of images.

    Args:
      images: Of any sizes; RGB, or in another mode, which is converted last.
      size: Pixels a side of the result.
      config: Strengths and probabilities.
      draws: Float64[images NUM_DRAWS], uniform in [0, 1).

    Returns:
      UInt8[images size size 3].
    """
    views = np.empty((len(images), size, size, 3), np.uint8)
    for view, image, row in zip(views, images, draws[:, 11:].tolist(), strict=True):
        box = crop_box(image.width, image.height, config, row)
        view[:] = np.asarray(last_rgb(image.resize((size, size), Image.Resampling.BICUBIC, box)))
    flipped = draws[:, 0] < config.flip
    views[flipped] = views[flipped, :, ::-1]
    jittered = draws[:, 1] < config.jitter_probability
    grey = draws[:, 2] < config.grey_probability
    changed = jittered | grey
    if changed.any():
        views[changed] = _recoloured(
            views[changed], config, jittered[changed], grey[changed], draws[changed, 3:11]
        )
    return views


def crop_box(width: int, height: int, config: AugmentConfig, draws: Sequence[float]) -> Box:
    """A random part of the area with a random ratio; the largest central one if ten tries fail."""
    low, high = config.crop_scale
    narrow, wide = (math.log(ratio) for ratio in config.crop_ratio)
    for i in range(2, 2 + 2 * CROP_TRIES, 2):
        area = width * height * (low + (high - low) * draws[i])
        ratio = math.exp(narrow + (wide - narrow) * draws[i + 1])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int((width - w + 1) * draws[0]), int((height - h + 1) * draws[1])
            return left, top, left + w, top + h
    ratio = min(max(width / height, config.crop_ratio[0]), config.crop_ratio[1])
    w, h = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _recoloured(
    views: np.ndarray,
    config: AugmentConfig,
    jittered: np.ndarray,
    grey: np.ndarray,
    draws: np.ndarray,
) -> np.ndarray:
    count, size = views.shape[:2]
    pixels = views.reshape(count, -1, 3).astype(np.float32)
    # A product is many times faster than a mean over the middle axis.
    means = (np.full((1, size * size), 1 / size**2, np.float32) @ pixels)[:, 0]
    matrix, offset = colour_maps(means, config, jittered, grey, draws)
    pixels = pixels @ np.ascontiguousarray(matrix.swapaxes(1, 2), np.float32)
    rows = pixels.reshape(count, size, size * 3)  # Long rows: the next steps run along them.
    rows += np.tile(offset, size)[:, None].astype(np.float32)
    np.rint(np.clip(rows, 0, 255, out=rows), out=rows)
    return rows.astype(np.uint8).reshape(views.shape)


def colour_maps(
    means: np.ndarray,
    config: AugmentConfig,
    jittered: np.ndarray,
    grey: np.ndarray,
    draws: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The affine map of each image's colours: new = matrix @ old + offset, in 0 ... 255.

    Args:
      means: Mean colour [images 3]; contrast is a change of the distance from its luma.
      config: `jitter` has the largest changes: of the factors of brightness, contrast and
        saturation from 1, and of the hue in turns.
      jittered: Bool[images]: which change brightness, contrast, saturation and hue.
      grey: Bool[images]: which become grey in the end.
      draws: [images 8]: four for the changes, four whose order is that of the changes.

    Returns:
      Matrices [images 3 3] and offsets [images 3].
    """
    count, same = len(means), np.eye(3)
    matrix, offset = np.tile(same, (count, 1, 1)), np.zeros((count, 3))
    change = np.asarray(config.jitter) * (2 * draws[:, :4] - 1) * jittered[:, None]
    factor = np.maximum(0, 1 + change[:, :3, None, None])
    angle = 2 * math.pi * change[:, 3, None, None]
    steps = np.stack(
        [
            factor[:, 0] * same,
            factor[:, 1] * same,
            factor[:, 2] * same + (1 - factor[:, 2]) * GREY,
            LUMA + np.cos(angle) * (same - LUMA) + np.sin(angle) * CROSS,
        ],
        1,
    )
    rows = np.arange(count)
    for kind in np.argsort(draws[:, 4:], 1).T:
        mean_luma = _apply(matrix, means, offset) @ GREY[0]
        step = steps[rows, kind]
        shift = np.where(kind == 1, (1 - factor[:, 1, 0, 0]) * mean_luma, 0.0)
        matrix, offset = step @ matrix, _apply(step, offset, shift[:, None])
    last = np.where(grey[:, None, None], GREY, same)
    return last @ matrix, _apply(last, offset, 0.0)


def _apply(matrix: np.ndarray, colour: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
    return (matrix @ colour[..., None])[..., 0] + offset
