"""(c) R@1 and mAP@R as captions get more matches."""

import statistics
from collections.abc import Sequence

import numpy as np

from prolip.evals.annotation import BINS, bin_name
from prolip.evals.correlation import kendall
from prolip.evals.metrics import retrieval_metrics
from prolip.experiments.studies import objectives
from prolip.experiments.study import Column, Metrics, Study

TASK = "annotation/text_to_image"
NAMES = [bin_name(low, high) for low, high in BINS]
# Which of the first ten answers are right, of ten that are; as in figure 4 of the survey.
LISTS = {
    "only the first is wrong": (0, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    "only the first is right": (1, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "the first five are wrong": (0, 0, 0, 0, 0, 1, 1, 1, 1, 1),
    "only the first five are right": (1, 1, 1, 1, 1, 0, 0, 0, 0, 0),
}


def _more(found: Metrics) -> str:
    """Do the two measures rank the models alike? Kendall's tau over models, for each bin."""
    lines = [
        "## Do R@1 with one annotated match and mAP@R rank the models alike?",
        "",
        "Kendall's τ over the models of a seed, mean ± standard error over seeds; 1 is one order.",
        "",
        "| captions with | " + " | ".join(NAMES) + " matches |",
        "|---|" + "---|" * len(NAMES),
    ]
    seeds = sorted({seed for runs in found.values() for seed in runs})
    for title, metric in (
        ("R@1, one annotated", "annotated_recall@1"),
        ("R@1, any match", "recall@1"),
    ):
        cells = [_taus(found, seeds, f"{TASK}/{name}", metric) for name in NAMES]
        lines.append(f"| {title}, against mAP@R | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_mechanics()])


def _taus(
    found: Metrics,
    seeds: Sequence[int],
    prefix: str,
    metric: str,
) -> str:
    taus = []
    for seed in seeds:
        pairs = [
            (runs[seed][f"{prefix}/{metric}"], runs[seed][f"{prefix}/map_at_r"])
            for runs in found.values()
            if f"{prefix}/{metric}" in runs.get(seed, {})
        ]
        if len(pairs) > 2:
            taus.append(kendall(*zip(*pairs, strict=True)))
    if not taus:
        return "–"
    mean = f"{statistics.fmean(taus):.2f}"
    if len(taus) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(taus) / len(taus) ** 0.5:.2f}"


def _mechanics() -> list[str]:
    lines = [
        "## What the measures say of four lists",
        "",
        "Ten matches, ten answers; computed by `prolip.evals.retrieval_metrics`.",
        "",
        "| list | R@1 | R@5 | R-Precision | mAP@R |",
        "|---|---|---|---|---|",
    ]
    for name, right in LISTS.items():
        # Matches are 0 ... 9; what is wrong is above.
        order = np.array([[i if ok else 10 + i for i, ok in enumerate(right)]])
        m = retrieval_metrics(order, [np.arange(10)], ks=(1, 5))
        values = (m["recall@1"], m["recall@5"], m["r_precision"], m["map_at_r"])
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return lines


STUDY = Study(
    name="multiplicity",
    title="R@1 against mAP@R as captions match more",
    question=(
        "A benchmark with one annotated match calls other right answers wrong, the more the more "
        "there are; does it still rank models as mAP@R does? (arXiv 2505.19614, section 4.) The "
        "runs are those of `objectives`. Expected R@1 if one match, drawn at random, were "
        "annotated, beside R@1 and mAP@R over all matches."
    ),
    cells=objectives.STUDY.cells,
    columns=(
        *(
            Column(f"{TASK}/{name}/{metric}", f"{title}, {name}", "high", 2)
            for name in NAMES
            for metric, title in (
                ("annotated_recall@1", "R@1 annotated"),
                ("recall@1", "R@1"),
                ("map_at_r", "mAP@R"),
            )
        ),
        Column(f"{TASK}/wrongly_wrong", "right answers among those called wrong", "", 2),
    ),
    more=_more,
)
