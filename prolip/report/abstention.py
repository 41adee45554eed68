"""Would it pay to leave uncertain queries unanswered? Risk over coverage, and what it is worth."""

from typing import Any

import numpy as np

from prolip.report import plots, words
from prolip.report.read import Run, Series

Values = dict[str, Any]
WAYS = {"text_to_image": "Text → image", "image_to_text": "Image → text"}
ERRORS = {"recall@1": "1 − R@1", "r_precision": "1 − R-Prec"}
SIGNALS = {"uncertainty": "uncertainty", "score": "best score"}


def abstention(run: Run) -> Values:
    """Curves of each way, and a row for each way, error and order."""
    ways = [found for way, title in WAYS.items() if (found := _way(run, way, title))]
    return {"ways": ways} if ways else {}


def _way(run: Run, way: str, title: str) -> Values:
    metrics, arrays = run.metrics, run.artefact("abstention").arrays
    rows = []
    for error, of in ERRORS.items():
        for signal, order in SIGNALS.items():
            name = f"abstention/{way}/{error}/{signal}"
            if f"{name}/aurc" in metrics:
                values = [metrics.get(f"abstention/{way}/{error}/mean")]
                values += [metrics.get(f"{name}/{part}") for part in ("aurc", "excess")]
                gain = words.signed(metrics.get(f"{name}/gain"))
                rows.append(
                    {"error": of, "order": order, "values": [*map(words.number, values), gain]}
                )
    curves = {
        order: Series(arrays[f"{key}_coverage"], arrays[f"{key}_risk"])
        for signal, order in SIGNALS.items()
        if f"{(key := f'{way}_recall@1_{signal}')}_risk" in arrays and f"{key}_coverage" in arrays
    }
    mean = metrics.get(f"abstention/{way}/recall@1/mean")
    if not rows:
        return {}
    sentence = _sentence(metrics, way, curves.get(SIGNALS["uncertainty"]), mean)
    svg = ""
    if curves and mean is not None:
        label = f"{title}: error of the queries that are answered over their part. {sentence}"
        svg = plots.risk_coverage(curves, mean, label)
    return {"title": title, "rows": rows, "svg": svg, "sentence": sentence}


def _sentence(metrics: dict[str, float], way: str, curve: Series | None, mean: float | None) -> str:
    name = f"abstention/{way}/recall@1/{{}}/gain".format
    doubt, score = metrics.get(name("uncertainty")), metrics.get(name("score"))
    if doubt is None:
        return "The model gives all queries the same uncertainty, so there is no order by it."
    parts = []
    if curve is not None and mean is not None:
        half = float(np.interp(0.5, curve.steps, curve.values))
        parts.append(
            f"Of the more certain half {words.of_hundred(half)} get a wrong first answer, "
            f"of all {words.of_hundred(mean)}."
        )
    parts.append(words.abstention(doubt, score))
    return " ".join(parts)
