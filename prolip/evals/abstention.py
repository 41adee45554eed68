"""Would it pay to leave uncertain queries unanswered?"""

import numpy as np

from prolip.config import SlotsConfig
from prolip.evals.context import Context, EvalResult, finite, variance_trace
from prolip.evals.given import transpose
from prolip.evals.metrics import KS, from_rankings
from prolip.evals.ranking import ranked_blocks
from prolip.evals.selective import risk_coverage
from prolip.gaussian import Gaussian

SHOWN = 100  # Points of a curve that a report gets.


def evaluate(context: Context) -> EvalResult:
    """Metrics under `abstention/<way>/<error>/<signal>/`: `aurc`, `excess`, `gain`.

    Errors are 1 - R@1 and 1 - R-Precision, by the uncertainty-aware ranking. Signals: the query's
    `uncertainty`; and `score`, the best score with its sign turned, which costs nothing and needs
    no variance: uncertainty is worth something where its gain is the larger.
    """
    own = transpose(context.positives, len(context.images.mean))
    ways = {
        "text_to_image": (context.texts, context.images, context.positives),
        "image_to_text": (context.images, context.texts, own),
    }
    metrics: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    undefined: dict[str, str] = {}
    for way, (queries, gallery, positives) in ways.items():
        query, errors, best_score = _answers(
            queries, gallery, positives, context.config.block, context.slots
        )
        signals = {"uncertainty": variance_trace(queries)[query], "score": -best_score}
        for error, values in errors.items():
            metrics[f"{way}/{error}/mean"] = float(values.mean()) if len(values) else float("nan")
            for signal, doubt in signals.items():
                name = f"{way}/{error}/{signal}"
                if not len(values) or np.ptp(values) == 0:
                    undefined[f"abstention/{name}/gain"] = (
                        "all queries have the same error, so no order is better than another"
                    )
                if not len(values) or np.ptp(doubt) == 0:
                    undefined.setdefault(
                        f"abstention/{name}/gain", f"all queries have the same {signal}"
                    )
                    continue
                curve = risk_coverage(values, doubt)
                metrics |= {
                    f"{name}/aurc": curve.aurc,
                    f"{name}/excess": curve.excess,
                    f"{name}/gain": curve.gain,
                }
                chosen = np.unique(np.linspace(0, len(values) - 1, SHOWN).astype(int))
                key = name.replace("/", "_")
                arrays |= {
                    f"{key}_coverage": curve.coverage[chosen],
                    f"{key}_risk": curve.risk[chosen],
                }
    named = {f"abstention/{name}": value for name, value in metrics.items()}
    return EvalResult(finite(named), arrays, undefined=undefined)


def _answers(
    queries: Gaussian, gallery: Gaussian, positives, block: int, slots: SlotsConfig
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Numbers of the queries that have positives, their errors, and the best score of each."""
    numbers, recall, precision, scores = [], [], [], []
    ranked = ranked_blocks(queries, gallery, positives, at_least=max(KS), block=block, slots=slots)
    for part in ranked:
        start = part.rows.start
        rows = from_rankings(part.order, positives[part.rows], KS, start, complete=True)
        numbers.append(rows.query)
        recall.append(rows.recall[:, 0])
        precision.append(rows.r_precision)
        scores.append(part.best_score[rows.query - start])
    errors = {"recall@1": 1 - np.concatenate(recall), "r_precision": 1 - np.concatenate(precision)}
    return np.concatenate(numbers), errors, np.concatenate(scores)
