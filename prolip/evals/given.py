"""Embeddings and matches as users give them, checked before anything is computed from them."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from prolip.evals.context import host_gaussian
from prolip.gaussian import Gaussian

Embeddings = Gaussian | np.ndarray  # Or any array: of JAX, say.

ROUNDING = 0.005  # Of a unit length, in half precision.

log = logging.getLogger(__name__)


def as_gaussian(given: Any, kind: str, ids: Any = None) -> Gaussian:
    """Checked Gaussians as float32 NumPy arrays.

    Lengths other than 1 are logged, with what follows from them.

    Args:
      given: Gaussians of any model, whose means are taken as they are; or an array [N, dim] of
        point embeddings, which are made unit and get zero variance (a log of minus infinity).
      kind: what an item is called in errors: "image".
      ids: names of the items in errors; without them their numbers.

    Raises:
      ValueError: not two axes, a NaN, an infinite mean or variance, or a mean or point of length
        zero; the first such item is named.
    """
    gaussian = given if isinstance(given, tuple) else None
    mean = np.asarray(given if gaussian is None else gaussian[0], np.float32)
    if mean.ndim != 2:
        raise ValueError(f"{kind} embeddings must be [{kind}s, dim], got shape {mean.shape}")
    _check(np.isfinite(mean).all(1), kind, ids, "is not a number")
    length = np.linalg.norm(mean.astype(np.float64), axis=1, keepdims=True)
    _check(length[:, 0] > 0, kind, ids, "has length zero, so no direction")
    if np.abs(length - 1).max(initial=0) > ROUNDING:
        log.warning(
            "%s embeddings have lengths from %.4g to %.4g: %s",
            kind,
            length.min(),
            length.max(),
            "they are divided by them, so that rankings are by cosine"
            if gaussian is None
            else "distances are those of the Gaussians as given, by the full CSD",
        )
    if gaussian is None:
        return host_gaussian(
            (mean / length).astype(np.float32), np.full(mean.shape, -np.inf, np.float32)
        )
    log_var = np.asarray(gaussian[1], np.float32)
    if log_var.shape != mean.shape:
        raise ValueError(f"{kind}s: means are {mean.shape}, but log-variances {log_var.shape}")
    _check((log_var < np.inf).all(1), kind, ids, "has a variance that is not a number")
    return host_gaussian(mean, log_var)


def both_rankings(*sides: Gaussian) -> dict[tuple[str, ...], bool]:
    """Prefixes of the names of metrics, and whether their ranking leaves variances out.

    Points are ranked once: without variances both rankings are the same.
    """
    if any(np.isfinite(side.log_var).any() for side in sides):
        return {("",): False, ("mean/",): True}
    return {("", "mean/"): True}


def match_lists(positives: Any, num_images: int, num_texts: int) -> list[np.ndarray]:
    """Sorted image indices for each text, from lists or a boolean [texts, images].

    Raises:
      ValueError: a number of texts, or an image index, that doesn't fit.
    """
    if len(positives) != num_texts:
        raise ValueError(f"{num_texts} texts but positives of {len(positives)}")
    if isinstance(positives, np.ndarray) and positives.dtype == bool:
        if positives.shape != (num_texts, num_images):
            raise ValueError(
                f"boolean positives must be [texts, images] = {(num_texts, num_images)}, "
                f"got {positives.shape}"
            )
        return [np.flatnonzero(row) for row in positives]
    matches = [np.unique(np.asarray(row, np.int64)) for row in positives]
    for text, row in enumerate(matches):
        if len(row) and not 0 <= row[0] <= row[-1] < num_images:
            outside = row[0] if row[0] < 0 else row[-1]
            raise ValueError(f"text {text} matches image {outside}, but there are {num_images}")
    return matches


def transpose(matches: Sequence[np.ndarray], num_images: int) -> list[np.ndarray]:
    """For each image the texts that match it."""
    images = np.concatenate([*matches, np.zeros(0, np.int64)])
    texts = np.repeat(np.arange(len(matches)), [len(row) for row in matches])
    order = np.argsort(images, kind="stable")
    ends = np.cumsum(np.bincount(images, minlength=num_images))
    return np.split(texts[order], ends[:-1])


def _check(good: Any, kind: str, ids: Any, what: str) -> None:
    if not good.all():
        number = int(np.argmin(good))
        name = f"{kind} {number}" if ids is None else f"{kind} {ids[number]} (row {number})"
        raise ValueError(f"{name} {what} ({int((~good).sum())} of {len(good)} such)")
