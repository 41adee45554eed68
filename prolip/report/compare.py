"""Several runs side by side: one row a metric, one column a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from prolip.report.read import read_run

# What the table has, from the metrics' names to words; more is better in all of them.
ROWS = {
    "retrieval/text_to_image_multiple/recall@1": "text → image R@1, several matches",
    "retrieval/text_to_image_multiple/map_at_r": "text → image mAP@R, several matches",
    "retrieval/text_to_image/recall@1": "text → image R@1, all captions",
    "retrieval/image_to_text/recall@1": "image → text R@1",
    "retrieval/image_to_text/map_at_r": "image → text mAP@R",
    "zero_shot/group/top1": "zero-shot accuracy, groups",
    "zero_shot/subgroup/top1": "zero-shot accuracy, subgroups",
    "uncertainty/text/matches_spearman": "uncertainty and number of matches, Spearman",
    "uncertainty/text/matches_spearman_multiple": "the same, captions with several matches",
    "uncertainty/inclusion_auc": "inclusion of images in a caption, AUC (chance: 0.5)",
}


class Row(NamedTuple):
    """A metric of several runs."""

    name: str  # As in `evals.jsonl`.
    title: str  # In words.
    values: dict[str, float | None]  # By run; None where it was not measured.

    @property
    def best(self) -> list[str]:
        """Runs with the largest value; all of them where they are equal to three decimals."""
        known = {run: round(value, 3) for run, value in self.values.items() if value is not None}
        return [run for run, value in known.items() if value == max(known.values())]


def compare(runs: Mapping[str, Path | str | Mapping[str, float]]) -> list[Row]:
    """A table of runs by the newest evaluated step of each.

    Args:
      runs: workdirs by the name that their column gets; recorded metrics are taken as they are.

    Returns:
      A row for each metric that at least one of them has.
    """
    metrics = {name: metrics_of(run) for name, run in runs.items()}
    rows = [
        Row(name, title, {run: own.get(name) for run, own in metrics.items()})
        for name, title in ROWS.items()
    ]
    return [row for row in rows if any(value is not None for value in row.values.values())]


def metrics_of(run: Path | str | Mapping[str, float]) -> Mapping[str, float]:
    """Metrics of the newest evaluated step of a workdir; a mapping is returned as it is."""
    return run if isinstance(run, Mapping) else read_run(run).metrics
