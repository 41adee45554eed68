"""Are the probabilities of pairs what they say?"""

from typing import Any

import numpy as np

from prolip.report import plots, words
from prolip.report.read import Run

Values = dict[str, Any]


def calibration(run: Run) -> Values:
    """The reliability diagram, the number of pairs in its bins, and the errors in words."""
    metrics, own = run.metrics, run.artefact("calibration")
    if "calibration/ece" not in metrics:
        return {}
    sentences = [
        f"Over all pairs, probability and outcome are {words.number(metrics['calibration/ece'])} "
        "apart (ECE). Nearly all pairs are mismatches that get almost nothing, so that this is "
        "small whatever the model does."
    ]
    above, pairs = metrics.get("calibration/ece_above"), metrics.get("calibration/pairs_above")
    if above is not None and pairs:
        sentences.append(
            f"Over the {pairs:,.0f} pairs above the first bin they are {words.number(above)} apart."
        )
    elif pairs == 0:
        sentences.append("No pair is above the first bin: the model calls nothing likely.")
    expected = metrics.get("calibration/expected_per_match")
    if expected is not None:
        sentences.append(words.expected_matches(expected))
    if not _sigmoid(run):
        sentences.append(
            "The loss of this run has no sigmoid term, which leaves the bias of the "
            "probabilities untrained: these numbers say nothing of the model."
        )
    found: Values = {"sentences": sentences, "plots": []}
    if own.has("pairs", "probability", "matches") and own.arrays["pairs"].sum() > 0:
        count = own.arrays["pairs"]
        some = np.maximum(count, 1)
        said, true = own.arrays["probability"] / some, own.arrays["matches"] / some
        text = " ".join(sentences)
        found["plots"] = [
            (
                "Reliability",
                "pairs that match in each bin of probability; the line would be right",
                plots.reliability(said, true, count, f"Reliability diagram. {text}"),
            ),
            (
                "Pairs in each bin",
                "a text and an image each",
                plots.counts(count, "Number of pairs in each bin of probability"),
            ),
        ]
    return found


def _sigmoid(run: Run) -> bool:
    """Whether the loss trains the bias; taken to be so where it is not known."""
    objective = run.config.get("objective", {})
    return bool(objective.get("ppcl", 1.0) or objective.get("siglip", 0.0))
