"""Retrieval and zero-shot metrics of the newest step, and how they came to be."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from prolip.report import plots, words
from prolip.report.examples import evenly
from prolip.report.read import Run, Series

Values = dict[str, Any]
TASKS = {
    "text_to_image": ("Text → image", "all captions"),
    "text_to_image_multiple": ("Text → image", "captions with several matches"),
    "image_to_text": ("Image → text", "all captions"),
    "image_to_text_multiple": ("Image → text", "only captions with several matches"),
}
MEASURES = {
    "recall@1": "R@1",
    "recall@5": "R@5",
    "recall@10": "R@10",
    "r_precision": "R-Prec",
    "map_at_r": "mAP@R",
    "ndcg@10": "nDCG@10",
    "median_rank": "median rank",
}
TREND = ("recall@1", "map_at_r")
# Title, note, and the metrics of a plot with how their lines are labelled.
OTHER_TRENDS = (
    (
        "Uncertainty and matches",
        "Spearman correlation",
        {
            "all captions": "uncertainty/text/matches_spearman",
            "several matches": "uncertainty/text/matches_spearman_multiple",
        },
    ),
    (
        "Abstention, text → image",
        "gain; 1: the best order, 0: by chance",
        {
            "uncertainty": "abstention/text_to_image/recall@1/uncertainty/gain",
            "best score": "abstention/text_to_image/recall@1/score/gain",
        },
    ),
    (
        "Calibration",
        "skill of pair probabilities; 0: the share of matches for every pair, 1: perfect",
        {"Brier": "calibration/brier_skill", "log loss": "calibration/log_skill"},
    ),
)
SET_TREND = re.compile(r"(sets/([^/]+)(?:/(text_to_image|image_to_text))?)/(top1|map|recall@1)")
SET_WAYS = {"": "top 1", "text_to_image": "text → image R@1", "image_to_text": "image → text R@1"}
SHOWN_STEPS = 12


def quality(run: Run) -> Values:
    """Retrieval and zero-shot metrics of the newest step, and how they came to be."""
    metrics = run.metrics
    tasks = []
    for task, (title, note) in TASKS.items():
        rows = []
        for name, prefix in (("uncertainty-aware", ""), ("mean only", "mean/")):
            values = [metrics.get(f"retrieval/{task}/{prefix}{m}") for m in MEASURES]
            if any(value is not None for value in values):
                rows.append({"name": name, "values": [words.number(v) for v in values]})
        guesses = [metrics.get(f"retrieval/{task}/chance/{m}") for m in MEASURES]
        if rows and any(value is not None for value in guesses):
            rows.append({"name": "guessing", "values": [words.number(v) for v in guesses]})
        if rows:
            count = metrics.get(f"retrieval/{task}/num_queries")
            queries = f"{count:,.0f} queries" if count else ""
            tasks.append({"title": title, "note": note, "queries": queries, "rows": rows})
    zero_shot = [
        {
            "feature": feature,
            "classes": words.number(metrics.get(f"zero_shot/{feature}/num_classes")),
            "values": [
                words.number(metrics.get(f"zero_shot/{feature}/{name}"))
                for name in ("top1", "mean/top1", "top5", "class_top1", "majority")
            ],
        }
        for feature in zero_shot_features(metrics)
    ]
    return {
        "measures": list(MEASURES.values()),
        "tasks": tasks,
        "zero_shot": zero_shot,
        "trends": [*_trends(run)] if len(run.evaluations) > 1 else [],
        "steps": _step_table(run),
        "best": _best(run),
        "all": [(name, words.number(value)) for name, value in sorted(metrics.items())],
    }


def _best(run: Run) -> str:
    """Which step is the best, and by what; "" where no step has what decides."""
    if run.best is None:
        return ""
    value = words.number(run.evaluations[run.best][run.best_metric])
    return f"step {run.best:,}, by {run.best_metric} ({value})"


def _trends(run: Run) -> Iterator[Values]:
    names = [
        (f"{title}, {MEASURES[m]}", note, f"retrieval/{task}", m)
        for task, (title, note) in TASKS.items()
        if task != "image_to_text_multiple"
        for m in TREND
    ]
    names += [
        (f"Zero-shot, {feature}", "accuracy", f"zero_shot/{feature}", "top1")
        for feature in zero_shot_features(run.metrics)
    ]
    plots_of = [
        (title, note, {"with variance": f"{prefix}/{m}", "mean only": f"{prefix}/mean/{m}"})
        for title, note, prefix, m in names
    ]
    plots_of += [*OTHER_TRENDS, *_set_trends(run)]
    for title, note, lines in plots_of:
        series = {
            label: found
            for label, name in lines.items()
            if len((found := _evaluated(run, name)).steps)
        }
        if series:
            label = f"{title}, {note}, at each evaluated step"
            yield {"title": title, "note": note, "svg": plots.over_steps(series, label, run.best)}


def _set_trends(run: Run) -> Iterator[tuple[str, str, dict[str, str]]]:
    for name in run.metrics:
        if (found := SET_TREND.fullmatch(name)) is not None:
            prefix, measure = found[1], found[4]
            title = f"{found[2]}, {'mAP' if measure == 'map' else SET_WAYS[found[3] or '']}"
            lines = {"with variance": name, "mean only": f"{prefix}/mean/{measure}"}
            yield title, "ready set", lines


def _step_table(run: Run) -> Values:
    steps = sorted(run.evaluations)
    names = {
        f"retrieval/{task}/{m}": f"{title}, {note}, {MEASURES[m]}"
        for task, (title, note) in TASKS.items()
        for m in TREND
    } | {
        f"zero_shot/{feature}/top1": f"Zero-shot, {feature}"
        for feature in zero_shot_features(run.metrics)
    }
    for title, _, lines in (*OTHER_TRENDS, *_set_trends(run)):
        label, name = next(iter(lines.items()))
        names[name] = title if label == "with variance" else f"{title}, {label}"
    names |= {
        name: f"Probe, {name.split('/')[1]}"
        for name in run.metrics
        if re.fullmatch(r"probe/[^/]+/top1", name)
    }
    shown = sorted(
        {steps[i] for i in evenly(len(steps), SHOWN_STEPS)}
        | ({run.best} if run.best is not None else set())
    )
    rows = [
        (title, [words.number(run.evaluations[step].get(name)) for step in shown])
        for name, title in names.items()
        if any(name in run.evaluations[step] for step in shown)
    ]
    return {
        "steps": [{"text": f"{step:,}", "best": step == run.best} for step in shown],
        "rows": rows,
        "of": len(steps),
    }


def zero_shot_features(metrics: dict[str, float]) -> list[str]:
    names = {key.split("/")[1] for key in metrics if key.startswith("zero_shot/")}
    count = {n: metrics.get(f"zero_shot/{n}/num_classes", 0.0) for n in names}
    return sorted(names, key=lambda n: (count[n], n))


def _evaluated(run: Run, name: str) -> Series:
    found = {step: m[name] for step, m in sorted(run.evaluations.items()) if name in m}
    return Series(np.array([*found]), np.array([*found.values()]))
