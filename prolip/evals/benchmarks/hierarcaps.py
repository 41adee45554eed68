"""HierarCaps: each image has captions from general to specific; which of them are found?

Two protocols, whose numbers are not comparable. ProLIP's walks from the caption nearest to an image
to a root (`evals.traversal`); HierarCaps's own (arXiv 2407.08521, section 5) takes the best caption
within balls that grow around the empty caption. Captions are compared by their text.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from prolip.evals import traversal
from prolip.evals.context import variance_trace
from prolip.evals.correlation import spearman
from prolip.evals.given import ROUNDING, Embeddings, as_gaussian
from prolip.evals.metrics import blocks

BLOCK = 1024  # Images at a time.


def hierarcaps(
    images: Embeddings,
    texts: Embeddings,
    root: Any,
    own: Sequence[Sequence[str]],
    steps: int = 50,
) -> dict[str, float]:
    """Both protocols, and how distance from the root and uncertainty follow the levels.

    Args:
      images: N Gaussians, or points [N, dim].
      texts: of the captions, those of the first image from general to specific, then those of the
        second, and so on: N * levels.
      root: Float[dim], mean of the empty caption.
      own: for each image its captions, from general to specific, as many for each.
      steps: points on the way of the one protocol, radii of the other.

    Returns:
      - `traversal/<metric>` from the root half-way between the caption that includes the image best
        and the empty one (ProLIP's "uncertainty with root"), `traversal/including/<metric>` from
        that caption alone, `traversal/mean/<metric>` from the empty caption, without variances:
        `precision`, `recall`, `any_recall`, `recall_level<k>`, `distinct`, see `traversal_metrics`.
      - `radius/mean/<metric>`, of HierarCaps's own protocol, which knows no variances: `precision`,
        `recall`, `distinct`, `ordered_recall`.
      - `radius/mean/level_kendall`: mean over images of Kendall's tau of the distance of the
        captions from the root with their level; 1 where the specific ones are further away.
      - `text/level_kendall` and `text/level_spearman`: of uncertainty with generality, within the
        captions of an image and over all; positive where general captions are more uncertain.
        `text/mean/level<k>`: mean uncertainty.

      What needs variances is left out for points.

    Raises:
      ValueError: an embedding that is not a number, a mean that is not of unit length, or captions
        of another number.
    """
    images, texts = as_gaussian(images, "image"), as_gaussian(texts, "text")
    for kind, side in (("image", images), ("text", texts)):
        length = np.linalg.norm(side.mean, axis=1)
        if (wrong := np.abs(length - 1) > ROUNDING).any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{kind} {row} has a mean of length {length[row]:.4g}: both protocols go along the "
                "unit sphere, so divide means by their lengths, and variances by the squares"
            )
    levels = len(own[0]) if len(own) else 0
    if not levels or {len(row) for row in own} != {levels} or len(own) != len(images.mean):
        raise ValueError(f"{len(images.mean)} images need as many captions each, and one at least")
    captions = [text for row in own for text in row]
    if len(texts.mean) != len(captions):
        raise ValueError(f"{len(captions)} captions, but embeddings of {len(texts.mean)}")
    empty = as_gaussian(np.asarray(root)[None], "root").mean[0]

    roots = {"mean/": np.asarray(empty)}
    uncertain = all(np.isfinite(side.log_var).all() for side in (images, texts))
    if uncertain:
        including = np.asarray(texts.mean)[traversal.including_texts(images, texts)]
        roots |= {"": traversal.unit(including + empty), "including/": including}
    result: dict[str, float] = {}
    for variant, ends in roots.items():
        found = traversal.traverse(images, texts, ends, steps)
        values = traversal.traversal_metrics(found, captions, own)
        result |= {f"traversal/{variant}{name}": value for name, value in values.items()}

    radii = np.linalg.norm(np.asarray(texts.mean, np.float64) - empty, axis=1)
    found = within_radii(np.asarray(images.mean), np.asarray(texts.mean), radii, steps)
    values = traversal.traversal_metrics(found, captions, own)
    answers = ([captions[i] for i in row] for row in found)
    ordered = [ordered_recall(row, right) for row, right in zip(answers, own, strict=True)]
    result |= {f"radius/mean/{name}": values[name] for name in ("precision", "recall", "distinct")}
    result["radius/mean/ordered_recall"] = float(np.mean(ordered))
    result["radius/mean/level_kendall"] = level_kendall(radii.reshape(-1, levels))
    if uncertain:
        uncertainty = variance_trace(texts).reshape(-1, levels)
        general = np.broadcast_to(-np.arange(levels), uncertainty.shape)
        result |= {
            "text/level_kendall": -level_kendall(uncertainty),
            "text/level_spearman": spearman(uncertainty.ravel(), general.ravel()),
        }
        mean = uncertainty.mean(0)
        result |= {f"text/mean/level{k}": float(value) for k, value in enumerate(mean, 1)}
    return result


def within_radii(
    images: np.ndarray, texts: np.ndarray, radii: np.ndarray, steps: int = 50
) -> list[np.ndarray]:
    """For each image the best text within each of `steps` radii, from the smallest on.

    The radii are spread evenly from the least to the greatest distance. Of equal neighbours the
    first stays.

    Args:
      images: Float[images, dim].
      texts: Float[texts, dim].
      radii: Float[texts], their distances from the root.
      steps: how many radii.
    """
    order = np.argsort(radii, kind="stable")
    inside = np.searchsorted(radii[order], np.linspace(radii.min(), radii.max(), steps), "right")
    found = []
    for rows in blocks(len(images), BLOCK):
        scores = images[rows] @ texts[order].T
        record = np.maximum.accumulate(scores, axis=1)
        # Where the maximum so far was set: the place of the best text among the first so many.
        new = np.ones(scores.shape, bool)
        new[:, 1:] = scores[:, 1:] > record[:, :-1]
        best = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0), axis=1)
        for row in order[best[:, inside - 1]]:
            found.append(row[np.flatnonzero(np.diff(row, prepend=-1))])
    return found


def ordered_recall(found: Sequence[str], own: Sequence[str]) -> float:
    """The longest run of right answers that follow each other from general to specific.

    Wrong answers between them don't count, and equal neighbours count once. Over the number of own
    captions. Source: HierarCaps `code/evaluation/hierarchical_retrieval.py`.
    """
    places = [place for place, _ in groupby(own.index(t) for t in found if t in own)]
    longest, run, before = 0, 0, -1
    for place in places:
        run = run + 1 if place > before else 1
        longest, before = max(longest, run), place
    return longest / len(own)


def level_kendall(values: np.ndarray) -> float:
    """Mean over rows of Kendall's tau of the values with the number of their column.

    (rising pairs - falling pairs) / all pairs; equal values are neither.

    Args:
      values: Float[rows, levels].
    """
    first, second = np.triu_indices(values.shape[1], 1)
    if not len(first):
        return float("nan")
    return float(np.sign(values[:, second] - values[:, first]).mean())
