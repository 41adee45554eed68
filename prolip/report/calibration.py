"""Are the probabilities of pairs what they say?"""

from typing import Any

import numpy as np

from prolip.report import plots, words
from prolip.report.read import Run

Values = dict[str, Any]
# Terms of the loss that train the probabilities that are measured, with their default weights, and
# those that train others with the same scale and bias.
SAME_LOGIT = {"ppcl": 1.0, "siglip": 0.0, "sets": 0.0}
OTHER_LOGIT = {"pcmepp": "PCME++", "pcme": "PCME"}


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
    sentences += _doubts(run)
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


def _doubts(run: Run) -> list[str]:
    """Why the probabilities are not what the loss trains; none where the loss is not known."""
    objective = run.config.get("objective", {})
    if any(objective.get(term, default) for term, default in SAME_LOGIT.items()):
        return []
    other = [name for term, name in OTHER_LOGIT.items() if objective.get(term, 0.0)]
    if other:
        return [
            f"The loss of this run, {' and '.join(other)}, trains scale and bias for a logit of "
            "its own, of distances; the probabilities here are those of PPCL's logit, which it "
            "does not train: these numbers say nothing of the model."
        ]
    return [
        "The loss of this run has no sigmoid term, which leaves the bias of the "
        "probabilities untrained: these numbers say nothing of the model."
    ]
