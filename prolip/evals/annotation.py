"""What a benchmark with one annotated match of each query would say, beside what is right.

If one of a query's R matches is annotated, each as likely, the top answer counts with probability
1/R where it is a match: the expectation is exact, nothing is drawn.
"""

from collections.abc import Sequence

import numpy as np

from prolip.evals.context import Context, EvalResult, finite
from prolip.evals.given import transpose
from prolip.evals.metrics import QueryMetrics
from prolip.evals.retrieval import query_metrics

# Numbers of matches, least and most; queries are told apart by theirs.
BINS: Sequence[tuple[int, float]] = ((1, 1), (2, 3), (4, 9), (10, np.inf))


def bin_name(low: int, high: float) -> str:
    """How a bin is called.

    >>> bin_name(2, 3), bin_name(10, float("inf")), bin_name(1, 1)
    ('2-3', '10+', '1')
    """
    if low == high:
        return str(low)
    return f"{low}-{int(high)}" if np.isfinite(high) else f"{low}+"


def annotated(rows: QueryMetrics) -> dict[str, float]:
    """Expected R@1 with one annotated match, and the metrics over all matches.

    Args:
      rows: of queries with matches; the first column of recall is R@1.

    Returns:
      `annotated_recall@1`; `wrongly_wrong`, the part of the answers that it counts as wrong which
      are right (not if none is counted as wrong); `recall@1`, `r_precision`, `map_at_r`, `queries`.

    Source: of the claim arXiv 2505.19614, section 4.
    """
    hit = rows.recall[:, 0]
    counted = hit / rows.num_positives
    result = {
        "annotated_recall@1": float(counted.mean()),
        "recall@1": float(hit.mean()),
        "r_precision": float(rows.r_precision.mean()),
        "map_at_r": float(rows.average_precision.mean()),
        "queries": float(len(hit)),
    }
    wrong = (1 - counted).sum()
    if wrong > 0:
        result["wrongly_wrong"] = float((hit - counted).sum() / wrong)
    return result


def evaluate(context: Context) -> EvalResult:
    """Metrics under `annotation/<task>/`, over all queries and by their number of matches.

    Tasks: `text_to_image`, `image_to_text`. Bins: `1`, `2-3`, `4-9`, `10+`.
    """
    block = context.config.block
    own = transpose(context.positives, len(context.images.mean))
    tasks = {
        "text_to_image": (context.texts, context.images, context.positives),
        "image_to_text": (context.images, context.texts, own),
    }
    metrics: dict[str, float] = {}
    for task, (queries, gallery, positives) in tasks.items():
        rows = query_metrics(queries, gallery, positives, block=block, slots=context.slots)
        parts = {"": np.ones(len(rows.query), bool)}
        for low, high in BINS:
            parts[f"{bin_name(low, high)}/"] = (low <= rows.num_positives) & (
                rows.num_positives <= high
            )
        for part, keep in parts.items():
            if keep.any():
                values = annotated(rows.where(keep))
                metrics |= {f"annotation/{task}/{part}{name}": v for name, v in values.items()}
    return EvalResult(finite(metrics))
