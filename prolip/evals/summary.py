"""What the evaluations of a run amount to: the usual numbers of each step, and the best step."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prolip.checkpoint import layout, retention
from prolip.config import CheckpointConfig
from prolip.data.near import unknown
from prolip.evals import ledger
from prolip.workdir import Workdir

Metrics = Mapping[str, float]

# Names of metrics, and the two lines that stand over their columns. Of the names in the place of
# `FIRST` only the first one is shown: the others are in the report.
FIRST, EACH = "(?P<first>[^/]+)", "(?P<each>[^/]+)"
HEADLINE = (
    ("retrieval/text_to_image/recall@1", "text → image", "R@1"),
    ("retrieval/text_to_image/map_at_r", "text → image", "mAP@R"),
    ("retrieval/image_to_text/recall@1", "image → text", "R@1"),
    (f"zero_shot/{FIRST}/top1", "zero-shot", "{}"),
    (f"probe/{FIRST}/top1", "probe", "{}"),
    ("uncertainty/text/matches_spearman", "uncertainty", "~ matches"),
    ("abstention/text_to_image/recall@1/uncertainty/gain", "abstention", "gain"),
    ("calibration/ece", "calibration", "ECE"),
    (f"sets/{EACH}/top1", "{}", "top 1"),
    (f"sets/{EACH}/real/top1", "{}", "ReaL top 1"),
    (f"sets/{EACH}/map", "{}", "mAP"),
    (f"sets/{EACH}/text_to_image/recall@1", "{}", "text → image R@1"),
    (f"sets/{EACH}/image_to_text/recall@1", "{}", "image → text R@1"),
    (f"sets/{EACH}/traversal/precision", "{}", "traversal precision"),
    (f"sets/{EACH}/traversal/recall", "{}", "traversal recall"),
)


@dataclasses.dataclass(frozen=True)
class Summary:
    """Evaluated steps of a run, and which is the best by the rule that keeps checkpoints."""

    metric: str  # config.checkpoint.best_metric
    mode: str  # "max" or "min".
    steps: dict[int, dict[str, float]]  # All metrics of each step, ascending.
    best: int | None  # None where no step has the metric.
    kept: frozenset[int]  # Steps whose checkpoint is there.
    failed: list[dict[str, Any]]  # Notes of evaluators without a result.
    damaged: list[str]  # Files of results that can't be read.
    configurations: int  # Under how many the results that count were made.

    @property
    def columns(self) -> list[tuple[str, str, str]]:
        """Headline metrics that were measured, with their titles; the deciding one first."""
        return headline(self.steps.values(), self.metric)

    @property
    def sentences(self) -> list[str]:
        """Which step is the best and by what, and what a reader of the numbers has to know."""
        return [*_sentences(self)]

    @property
    def values(self) -> dict[str, Any]:
        """The same as JSON has it."""
        steps = [
            {
                "step": step,
                "best": step == self.best,
                "checkpoint": step in self.kept,
                "metrics": dict(metrics),
            }
            for step, metrics in self.steps.items()
        ]
        return {
            "best_metric": self.metric,
            "best_mode": self.mode,
            "best_step": self.best,
            "steps": steps,
            "failed": self.failed,
        }


def summarize(workdir: Workdir, config: CheckpointConfig, results: Path | None = None) -> Summary:
    """Reads the ledger of a run; no data and no model is needed.

    Args:
      workdir: of the run.
      config: which metric decides, and which way.
      results: where the evaluations are; None: in the workdir.
    """
    results = results or workdir.path
    found = ledger.newest(results)
    steps = {step: merged(found[step]) for step in sorted(found)}
    configurations = {entry.config for own in found.values() for entry in own.values()}
    return Summary(
        metric=config.best_metric,
        mode=config.best_mode,
        steps=steps,
        best=best_step(steps, config.best_metric, config.best_mode),
        kept=frozenset(layout.existing(workdir.checkpoints).in_state()),
        failed=ledger.failures(results),
        damaged=[str(path) for path in ledger.damaged(results)],
        configurations=len(configurations),
    )


def merged(entries: Mapping[str, ledger.Entry]) -> dict[str, float]:
    """The metrics of several evaluators; where they have one of the same name, the later counts."""
    return {name: value for e in entries.values() for name, value in e.metrics.items()}


def best_step(steps: Mapping[int, Metrics], metric: str, mode: str) -> int | None:
    """The step that `checkpoint.keep_best` keeps first; the newest of those that are equally good.

    Args:
      steps: metrics of evaluated steps.
      metric: that decides.
      mode: "max" or "min".

    Returns:
      None where no step has the metric.
    """
    known = {step: metrics[metric] for step, metrics in steps.items() if metric in metrics}
    return next(iter(retention.ranked(known, mode)), None)


def headline(steps: Iterable[Metrics], metric: str) -> list[tuple[str, str, str]]:
    """(name, title, subtitle) of what a table over steps shows; `metric` comes first."""
    names = dict.fromkeys(name for metrics in steps for name in metrics)
    titles = {}
    for pattern, title, subtitle in HEADLINE:
        matches = [m for name in names if (m := re.fullmatch(pattern, name))]
        for match in matches[:1] if FIRST in pattern else matches:
            given = match.groups()
            titles[match[0]] = (title.format(*given), subtitle.format(*given))
    if metric in names:
        title, _, last = metric.rpartition("/")
        titles = {metric: titles.get(metric, (title, last))} | titles
    return [(name, *both) for name, both in titles.items()]


def _sentences(found: Summary) -> Iterator[str]:
    if found.best is not None:
        value = found.steps[found.best][found.metric]
        which = "largest" if found.mode == "max" else "smallest"
        yield (
            f"best: step {found.best}, the {which} {found.metric} ({value:.4f}); "
            "config.checkpoint.best_metric decides"
        )
        if found.best not in found.kept:
            yield (
                f"the checkpoint of step {found.best} is not there any more; "
                "config.checkpoint.keep_best=1 keeps the best of the steps to come"
            )
    elif found.steps:
        names = sorted({name for metrics in found.steps.values() for name in metrics})
        what = "no step is the best: config.checkpoint.best_metric names a metric that none has:"
        yield unknown(found.metric, names, what)
    if found.configurations > 1:
        yield (
            f"the results are of {found.configurations} configurations of the evaluation or its "
            "data, so that steps may not be comparable"
        )
    for path in found.damaged:
        yield f"{path} is damaged and left out; `prolip eval` measures it again"
    for note in found.failed:
        error = str(note.get("error", "")).strip().splitlines()
        yield f"step {note['step']}: {note['evaluator']} failed: {error[-1] if error else ''}"
