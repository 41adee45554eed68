"""Traversal from specific to general: which captions lie on the way from an image to a root.

Source: HierarCaps (arXiv 2407.08521) as ProLIP evaluates it (naver-ai/prolip
`src/analysis/eval_hcaps.py`). Between the caption nearest to an image and a root, `steps` points
are laid; the captions nearest to them are the answer.
"""

from collections.abc import Sequence

import jax
import numpy as np

from prolip import gaussian
from prolip.gaussian import Gaussian

CPU_PAIRS = 1 << 22  # Pairs of image and caption at a time.


def nearest(points: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Int[points]: the text of the largest mean product with each point; the first of equals.

    Args:
      points: Float[points, dim].
      texts: Float[texts, dim], unit length.
    """
    block = max(1, CPU_PAIRS // max(1, len(texts)))
    parts = [(points[i : i + block] @ texts.T).argmax(1) for i in range(0, len(points), block)]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def including_texts(images: Gaussian, texts: Gaussian) -> np.ndarray:
    """Int[images]: the text that includes each image best, by the log of the overlap of p_i^2 p_t.

    The one-sided test of the released code, its normalisers as published.
    """
    log_overlap = jax.jit(lambda a, b: gaussian.log_overlap(a, b, form="released"))
    block = max(1, CPU_PAIRS // max(1, len(texts.mean)))
    parts = []
    for i in range(0, len(images.mean), block):
        rows = Gaussian(images.mean[i : i + block], images.log_var[i : i + block])
        parts.append(np.asarray(log_overlap(rows, texts)).argmax(1))
    return np.concatenate([np.zeros(0, np.int64), *parts])


def unit(x: np.ndarray) -> np.ndarray:
    """Vectors of length one in the same directions."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def path(starts: np.ndarray, ends: np.ndarray, steps: int) -> np.ndarray:
    """Float[rows, steps, dim]: unit vectors from each start towards its end, which is left out."""
    parts = (np.arange(steps) / steps)[None, :, None]
    return unit(starts[:, None] + parts * (ends - starts)[:, None])


def traverse(
    images: Gaussian, texts: Gaussian, ends: np.ndarray, steps: int = 50
) -> list[np.ndarray]:
    """For each image the texts on its way, from specific to general, each once.

    Args:
      images: N Gaussians.
      texts: M Gaussians.
      ends: Float[N, dim] or Float[dim]: roots, such as the mean of the empty caption.
      steps: points on the way.
    """
    mean = np.asarray(texts.mean)
    starts = mean[nearest(np.asarray(images.mean), mean)]
    found = []
    for start, end in zip(starts, np.broadcast_to(ends, starts.shape), strict=True):
        visited = nearest(path(start[None], end[None], steps)[0], mean)
        _, first = np.unique(visited, return_index=True)
        found.append(visited[np.sort(first)])
    return found


def traversal_metrics(
    found: Sequence[np.ndarray], captions: Sequence[str], own: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Precision and recall of captions by their text: equal texts are one caption.

    Args:
      found: for each image numbers of captions.
      captions: texts of all captions.
      own: for each image its right captions, from general to specific.

    Returns:
      `precision` (part of the distinct captions found that are right), `recall` (part of the own
      ones that are found), `any_recall`, `recall_level<k>` and `distinct` (captions found), means
      over images.
    """
    answers = [{captions[i] for i in row} for row in found]
    hits = [[text in answer for text in right] for answer, right in zip(answers, own, strict=True)]
    result = {
        "precision": np.mean(
            [len(a & set(right)) / max(1, len(a)) for a, right in zip(answers, own, strict=True)]
        ),
        "recall": np.mean([np.mean(row) for row in hits]),
        "any_recall": np.mean([any(row) for row in hits]),
        "distinct": np.mean([len(answer) for answer in answers]),
    }
    if len({len(row) for row in hits}) == 1:
        levels = np.mean(hits, axis=0)
        result |= {f"recall_level{k}": value for k, value in enumerate(levels, 1)}
    return {name: float(value) for name, value in result.items()}
