"""How many answers are right, and how often a batch calls a right one wrong."""

from typing import Any

from prolip.evals.multiplicity import BATCHES, expected_false_negatives
from prolip.report import words
from prolip.report.read import Run

Values = dict[str, Any]


def multiplicity(run: Run) -> Values:
    """Sentences on the data, and a row for each size of batch, the run's own first."""
    metrics = run.metrics
    rate = metrics.get("multiplicity/false_negative_rate")
    if rate is None:
        return {}
    own = run.config.get("global_batch")
    batches = [*([own] if own and own not in BATCHES else []), *BATCHES]
    rows = []
    for batch in sorted(batches):
        missed, part = expected_false_negatives(rate, batch)
        values = [f"{missed:,.0f}" if missed >= 10 else words.number(missed), words.share(part)]
        rows.append({"batch": f"{batch:,}", "own": batch == own, "values": values})
    return {"sentences": [*_sentences(run, rate)], "rows": rows}


def _sentences(run: Run, rate: float) -> list[str]:
    values = [
        run.metrics.get(f"multiplicity/{name}")
        for name in ("matches_mean", "matches_median", "matches_max", "several")
    ]
    found = []
    if all(value is not None for value in values):
        mean, median, most, several = (value or 0.0 for value in values)
        found.append(
            f"A caption matches {words.number(mean)} images in the mean, {words.number(median)} in "
            f"the median and {words.number(most)} at most; {words.share(several)} of them match "
            "several."
        )
    found.append(
        f"Of the pairs that a batch takes for mismatches, {words.share(rate)} are matches "
        "(false-negative rate)."
    )
    if run.config.get("objective", {}).get("positives") == "extended":
        found.append(
            "This run counts the known matches of a batch as matches (objective.positives=extended)"
            ", so that they are not lost; a run that pairs each image with one caption loses them."
        )
    return found
