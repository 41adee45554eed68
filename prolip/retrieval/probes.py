"""Queries near items of a collection: what an index is measured by before anybody asks it."""

from typing import Any

import numpy as np

from prolip.gaussian import Gaussian
from prolip.retrieval.vectors import Vectors

PROBES = 100


def probes(vectors: Vectors, rows: np.ndarray) -> Gaussian:
    """Up to 100 items of these rows, moved by noise of half their length; the same every time."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(rows, min(PROBES, len(rows)), replace=False))
    mean: Any = vectors.take(chosen).mean.astype(np.float32)
    noise = rng.normal(size=mean.shape).astype(np.float32)
    mean += noise / (2 * np.linalg.norm(noise, axis=-1, keepdims=True))
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    return Gaussian(mean, np.zeros_like(mean))  # Rankings don't depend on their uncertainty.
