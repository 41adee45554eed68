"""Does uncertainty mean what it should: more matches, more doubt; more doubt, more mistakes?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prolip.evals.context import Context, EvalResult, finite, variance_trace
from prolip.evals.correlation import spearman, uncertainty_bins
from prolip.evals.given import transpose
from prolip.evals.inclusion import inclusion_metrics
from prolip.evals.masked import inclusion_of_originals
from prolip.evals.metrics import QueryMetrics
from prolip.evals.retrieval import query_metrics

EXTREMES = 24  # Most and least certain items that a report can show.


def text_uncertainty(
    uncertainty: np.ndarray, matches: np.ndarray, levels: Sequence[str], lengths: np.ndarray
) -> dict[str, float]:
    """How the uncertainty of captions relates to what they match.

    Args:
      uncertainty: Float[captions].
      matches: Int[captions], number of images that the caption matches.
      levels: for each caption the feature that it comes from.
      lengths: Int[captions], of the text.

    Returns:
      Spearman correlations `matches_spearman` (over all), `matches_spearman_multiple` (captions
      with several matches), `level_spearman` (levels in the order of their mean number of matches:
      positive means that general levels are more uncertain), `length_spearman`; and `mean`,
      `mean/<level>`, `matches/<level>`.
    """
    names = level_order(levels, matches)
    rank = np.array([len(names) - names.index(level) for level in levels])
    several = matches > 1
    result = {
        "matches_spearman": spearman(uncertainty, matches),
        "matches_spearman_multiple": spearman(uncertainty[several], matches[several]),
        "level_spearman": spearman(uncertainty, rank),
        "length_spearman": spearman(uncertainty, lengths),
        "mean": float(uncertainty.mean()),
    }
    for name in names:
        members = np.asarray(levels) == name
        result[f"mean/{name}"] = float(uncertainty[members].mean())
        result[f"matches/{name}"] = float(matches[members].mean())
    return result


def level_order(levels: Sequence[str], matches: np.ndarray) -> list[str]:
    """Levels from the most general, by mean number of matches; equal ones by name."""
    array = np.asarray(levels)
    return sorted(set(levels), key=lambda name: (-matches[array == name].mean(), name))


def evaluate(context: Context) -> EvalResult:
    """Metrics under `uncertainty/`: `text/`, `image/`, inclusion in captions and masked views."""
    text, image = variance_trace(context.texts), variance_trace(context.images)
    matches = np.array([len(row) for row in context.positives])
    lengths = np.array([len(caption) for caption in context.captions])
    metrics = text_uncertainty(text, matches, context.levels, lengths)
    undefined = {
        f"uncertainty/text/{name}": f"all captions have the same {what}"
        for name, what in (
            ("matches_spearman", "uncertainty" if np.ptp(text) == 0 else "number of matches"),
        )
        if not np.isfinite(metrics[name])
    }
    metrics = {f"text/{name}": value for name, value in metrics.items()}
    metrics["image/mean"] = float(image.mean())
    metrics |= inclusion_metrics(context.images, context.texts, context.positives)
    metrics |= inclusion_of_originals(context.images, context.texts, context.masked)

    block, own = context.config.block, transpose(context.positives, len(image))
    how: dict[str, Any] = {"block": block, "slots": context.slots}
    to_image = query_metrics(context.texts, context.images, context.positives, **how)
    to_text = query_metrics(context.images, context.texts, own, **how)
    arrays = {
        "caption_uncertainty": text,
        "caption_matches": matches,
        "image_uncertainty": image,
        "image_matches": np.array([len(row) for row in own]),
    }
    several = to_image.num_positives > 1
    tasks = [("text", to_image, text), ("image", to_text, image)]
    tasks.append(("text_multiple", to_image.where(several), text))
    for name, rows, uncertainty in tasks:
        values, curves = _bins(rows, uncertainty, context.config.bins)
        metrics |= {f"{name}/{key}": value for key, value in values.items()}
        arrays |= {f"{name}_{key}": curve for key, curve in curves.items()}

    names = level_order(context.levels, matches)
    arrays["caption_level"] = np.array([names.index(level) for level in context.levels])
    by_text, by_image = (np.argsort(u, kind="stable") for u in (text, image))
    notes = {
        "levels": names,
        "captions": [*context.captions],
        "most_certain_captions": by_text[:EXTREMES].tolist(),
        "least_certain_captions": by_text[::-1][:EXTREMES].tolist(),
        "most_certain_images": by_image[:EXTREMES].tolist(),
        "least_certain_images": by_image[::-1][:EXTREMES].tolist(),
    }
    named = {f"uncertainty/{name}": value for name, value in metrics.items()}
    return EvalResult(finite(named), arrays, notes, undefined)


def _bins(
    rows: QueryMetrics, uncertainty: np.ndarray, bins: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Correlation of metrics with the bin of the query's uncertainty, and the metrics by bin."""
    own = uncertainty[rows.query]
    if len(own) < bins or np.ptp(own) == 0:
        return {}, {}
    values: dict[str, float] = {}
    curves: dict[str, np.ndarray] = {}
    for name, metric in (("recall@1", rows.recall[:, 0]), ("map_at_r", rows.average_precision)):
        binned = uncertainty_bins(metric, own, bins)
        values |= {
            f"bins_pearson_{name}": binned.pearson,
            f"bins_spearman_{name}": binned.spearman,
        }
        curves |= {f"bins_{name}": binned.metric, "bins_uncertainty": binned.uncertainty}
    return values, curves
