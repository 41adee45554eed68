"""Are the probabilities of pairs what they say?"""

from typing import Any

import numpy as np

from prolip.evals.ledger import UNDEFINED
from prolip.report import plots, words
from prolip.report.read import Run

OLD = (
    "This step was evaluated by an earlier version, whose error over all pairs is small whatever "
    "the model does; evaluate it again for skill scores."
)
Values = dict[str, Any]
# Terms of the loss that train the probabilities that are measured, with their default weights, and
# those that train others with the same scale and bias.
SAME_LOGIT = {"ppcl": 1.0, "siglip": 0.0, "sets": 0.0}
OTHER_LOGIT = {"pcmepp": "PCME++", "pcme": "PCME"}


def calibration(run: Run) -> Values:
    """Skill in words, the reliability diagram, and the pairs in each bin."""
    metrics, own = run.metrics, run.artefact("calibration")
    names = ("brier_skill", "log_skill", "ece_likely")
    skill, log_skill, likely = (metrics.get(f"calibration/{name}") for name in names)
    reasons = own.notes.get(UNDEFINED, {})
    if not any(name.startswith("calibration/") for name in (*metrics, *reasons)):
        return {}
    if skill is None and not reasons:
        return {"sentences": [OLD], "plots": []}
    sentences = []
    if skill is not None and log_skill is not None:
        sentences.append(words.skill(skill, log_skill))
    pairs = metrics.get("calibration/pairs_likely")
    threshold = words.number(metrics.get("calibration/threshold_likely"))
    if likely is not None and pairs:
        sentences.append(
            f"Of the {pairs:,.0f} pairs to which it gives {threshold} or more, probability and "
            f"outcome are {words.number(likely)} apart on average (ECE, bins of equally many)."
        )
    expected = metrics.get("calibration/expected_per_match")
    if expected is not None:
        sentences.append(words.expected_matches(expected))
    sentences += [f"{name}: n/a, {reason}." for name, reason in reasons.items()]
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
