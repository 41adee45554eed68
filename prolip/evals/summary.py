"""The usual numbers of each evaluated step of a run, what guessing would get, and the best step."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prolip.checkpoint import layout, retention
from prolip.config import CheckpointConfig
from prolip.data.near import unknown
from prolip.evals import ledger
from prolip.evals.entries import Entry
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
    (f"prompts/{FIRST}/bprw_transductive/top1", "BPRW", "{}"),
    ("uncertainty/text/matches_spearman", "uncertainty", "~ matches"),
    ("abstention/text_to_image/recall@1/uncertainty/gain", "abstention", "gain"),
    ("calibration/brier_skill", "calibration", "Brier skill"),
    ("calibration/log_skill", "calibration", "log skill"),
    ("calibration/ece_likely", "calibration", "ECE, likely"),
    (f"sets/{EACH}/top1", "{}", "top 1"),
    (f"sets/{EACH}/real/top1", "{}", "ReaL top 1"),
    (f"sets/{EACH}/map", "{}", "mAP"),
    (f"sets/{EACH}/text_to_image/recall@1", "{}", "text → image R@1"),
    (f"sets/{EACH}/image_to_text/recall@1", "{}", "image → text R@1"),
    (f"sets/{EACH}/traversal/precision", "{}", "traversal precision"),
    (f"sets/{EACH}/traversal/recall", "{}", "traversal recall"),
)
# Metrics of which a model that knows nothing has 0.
ZERO = ("uncertainty/.*_spearman.*", "abstention/.*/gain", "calibration/.*_skill")
NOT_DEFINED = "n/a"


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
    # Of each step the metrics that were looked for and have no value, and why.
    undefined: dict[int, dict[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def columns(self) -> list[tuple[str, str, str]]:
        """Headline metrics that were measured, with their titles; the deciding one first."""
        looked_for = (dict.fromkeys(reasons, 0.0) for reasons in self.undefined.values())
        return headline([*self.steps.values(), *looked_for], self.metric)

    @property
    def guesses(self) -> dict[str, float]:
        """Headline values of a model that knows nothing, where they are known."""
        found = {name: guess(name, self.steps.values()) for name, *_ in self.columns}
        return {name: value for name, value in found.items() if value is not None}

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
                "undefined": self.undefined.get(step, {}),
            }
            for step, metrics in self.steps.items()
        ]
        return {
            "best_metric": self.metric,
            "best_mode": self.mode,
            "best_step": self.best,
            "guesses": self.guesses,
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
        undefined={
            step: reasons
            for step, own in found.items()
            if (reasons := _undefined(results, own.values(), steps[step]))
        },
    )


def merged(entries: Mapping[str, Entry]) -> dict[str, float]:
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


def guess(metric: str, steps: Iterable[Metrics]) -> float | None:
    """Chance level: the metric of a model that knows nothing; None where that is not known.

    Random orders of `recall@1` stand as `chance/recall@1` beside it, and always answering the
    largest class as `majority` beside `top1`, with a probe of tiny pictures as `pixels_top1`.
    """
    if any(re.fullmatch(pattern, metric) for pattern in ZERO):
        return 0.0
    path, slash, last = metric.rpartition("/")
    path = path.removesuffix("/mean").removesuffix("/bprw_transductive")
    names = [f"{path}{slash}chance/{last}"]
    if last == "top1":
        names += [f"{path}{slash}majority", f"{path}{slash}pixels_top1"]
    found = [[values[n] for n in names if n in values] for values in steps]
    return next((max(own) for own in reversed(found) if own), None)


def _undefined(results: Path, entries: Iterable[Entry], metrics: Metrics) -> dict[str, str]:
    """Metrics without a value, and why, by the notes of their evaluators."""
    found: dict[str, str] = {}
    for entry in entries:
        folder = ledger.folder_of(results, entry.step, entry.manifest, entry.config)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            notes = json.loads((folder / f"{entry.evaluator}.json").read_bytes())
            found |= {str(k): str(v) for k, v in notes.get(ledger.UNDEFINED, {}).items()}
    return {name: reason for name, reason in found.items() if name not in metrics}


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
    shown = {name for name, *_ in found.columns}
    reasons: dict[tuple[str, str], list[int]] = {}
    for step, own in found.undefined.items():
        for name in sorted(shown & own.keys()):
            reasons.setdefault((name, own[name]), []).append(step)
    for (name, reason), steps in reasons.items():
        which = f"step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}"
        yield f"{name} is {NOT_DEFINED} at {which}: {reason}"
    for note in found.failed:
        error = str(note.get("error", "")).strip().splitlines()
        yield f"step {note['step']}: {note['evaluator']} failed: {error[-1] if error else ''}"
