"""Arrays -> plots of a run."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from prolip.report.figure import (
    INK,
    LINE,
    MUTED,
    NICE,
    SERIES,
    SMALL,
    figure,
    label_ends,
    legend,
    percent,
    short,
    step_axis,
    value_axis,
)
from prolip.report.read import Series
from prolip.report.words import share

MAX_POINTS = 300  # Of a training curve; more are summarised by their mean and range.
MAX_DOTS = 3000  # Of a scatter plot.
HALF = (4.9, 2.7)  # Of a plot that is half as wide as the page.


def curves(series: Mapping[str, Series], label: str, smoothed: bool = True) -> str:
    """Training curves in one plot: the smoothed line over the raw one, or the raw one alone."""
    with figure(SMALL, label) as (axes, finish):
        ends = []
        for color, (name, (steps, values)) in zip(SERIES, series.items(), strict=False):
            at, mean, low, high = _thin(steps, values)
            if len(at) < len(steps):
                axes.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
            else:
                axes.plot(at, mean, color=color, alpha=0.28, linewidth=0.8)
            line = smooth(mean) if smoothed else mean
            axes.plot(at, line, color=color, linewidth=1.7)
            ends.append((name, at[-1], line[-1], color))
        values = np.concatenate([s.values for s in series.values()])
        if values.min() > 0 and values.max() > 50 * np.median(values):
            axes.set_yscale("log")
        step_axis(axes)
        value_axis(axes)
        if len(ends) > 1:
            label_ends(axes, ends)
        return finish()


def over_steps(lines: Mapping[str, Series], label: str, best: int | None = None) -> str:
    """A metric at each evaluated step; the first line is the main one, `best` a marked step."""
    with figure(SMALL, label) as (axes, finish):
        ends = []
        for i, (name, (steps, values)) in enumerate(lines.items()):
            color, style = (SERIES[0], "-") if i == 0 else (SERIES[1], (0, (3, 2)))
            axes.plot(
                steps, values, color=color, linestyle=style, linewidth=1.6, marker="o",
                markersize=3.2, zorder=3 - i * 0.1,
            )  # fmt: skip
            ends.append((name, steps[-1], values[-1], color))
        values = np.concatenate([s.values for s in lines.values()])
        axes.set_ylim(min(0.0, 1.15 * values.min()), max(0.1, 1.15 * values.max()))
        if best is not None:
            _mark_best(axes, best, next(iter(lines.values())))
        step_axis(axes)
        value_axis(axes)
        if len(ends) > 1:
            label_ends(axes, ends)
        return finish()


def _mark_best(axes: Axes, best: int, main: Series) -> None:
    axes.axvline(best, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    for value in main.values[main.steps == best]:
        axes.plot(
            best, value, marker="o", markersize=7.5, color="none", markeredgecolor=INK,
            markeredgewidth=1.1, zorder=4, clip_on=False,
        )  # fmt: skip


def scatter(
    matches: np.ndarray, uncertainty: np.ndarray, level: np.ndarray, levels: Sequence[str],
    label: str,
) -> str:  # fmt: skip
    """Uncertainty of captions over their number of matches (log), coloured by level."""
    random = np.random.default_rng(0)
    shown = random.permutation(len(matches))[:MAX_DOTS]  # No level covers the others.
    at = matches[shown] * np.exp(random.uniform(-0.11, 0.11, len(shown)))
    with figure((5.0, 3.3), label) as (axes, finish):
        colors = [SERIES[i % len(SERIES)] for i in level[shown]]
        axes.scatter(at, uncertainty[shown], s=13, color=colors, alpha=0.55, linewidths=0)
        for i, name in enumerate(levels):
            axes.scatter([], [], s=13, color=SERIES[i % len(SERIES)], label=name)
        at, median = medians(matches, uncertainty)
        if len(at) > 1:
            axes.plot(at, median, color=INK, linewidth=1.6, marker="o", markersize=3)
            axes.annotate(
                "median", (at[-1], median[-1]), (6, 0), textcoords="offset points", va="center",
                fontsize=7.5, color=INK,
            )  # fmt: skip
        axes.set_xscale("log")
        top = matches.max()
        axes.set_xlim(0.85, top * 1.45)
        ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if t <= top]
        axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="x", visible=False)
        value_axis(axes)
        axes.set_xlabel("images that the caption matches (log scale)")
        axes.set_ylabel("uncertainty of the caption")
        legend(axes, len(levels), handletextpad=0.1, markerscale=1.4)
        return finish()


def boxes(groups: Mapping[str, np.ndarray], label: str) -> str:
    """For each group its 5 to 95 percent range, its quartiles and its median."""
    with figure((3.9, 0.55 * len(groups) + 0.65), label) as (axes, finish):
        for i, values in enumerate(groups.values()):
            low, first, median, third, high = np.percentile(values, [5, 25, 50, 75, 95])
            color = SERIES[i % len(SERIES)]
            axes.plot([low, high], [i, i], color=color, linewidth=1.2)
            axes.plot([first, third], [i, i], color=color, linewidth=9, solid_capstyle="butt")
            axes.plot([median, median], [i - 0.2, i + 0.2], color=INK, linewidth=2)
        axes.set_yticks(range(len(groups)), list(groups), color=INK)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=NICE))
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlabel("uncertainty")
        return finish()


def bins(accuracy: np.ndarray, label: str) -> str:
    """Accuracy in bins of equal size, from the most to the least certain."""
    known = np.flatnonzero(np.isfinite(accuracy))
    with figure(SMALL, label) as (axes, finish):
        axes.bar(known + 1, accuracy[known], width=0.72, color=SERIES[0], alpha=0.85)
        axes.axhline(accuracy[known].mean(), color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_xticks([1, len(accuracy)], ["most certain", "least certain"])
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        axes.set_xlim(0.5, len(accuracy) + 0.5)
        axes.set_ylim(0, max(0.1, 1.12 * accuracy[known].max()))
        axes.grid(axis="x", visible=False)
        value_axis(axes)
        return finish()


def smooth(values: np.ndarray) -> np.ndarray:
    """Centred mean over a twelfth of the points; at the ends over those that there are."""
    half = max(1, len(values) // 24)
    total = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def medians(matches: np.ndarray, uncertainty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median uncertainty in octaves of the number of matches that have at least five captions."""
    octave = np.floor(np.log2(np.maximum(matches, 1))).astype(int)
    kept = [o for o in np.unique(octave) if (octave == o).sum() >= 5]
    at = [np.exp(np.log(np.maximum(matches[octave == o], 1)).mean()) for o in kept]
    return np.array(at), np.array([np.median(uncertainty[octave == o]) for o in kept])


def _thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Steps, mean, least and largest value of at most MAX_POINTS neighbourhoods."""
    if len(steps) <= MAX_POINTS:
        return steps, values, values, values
    starts = np.linspace(0, len(steps), MAX_POINTS, endpoint=False).astype(int)
    counts = np.diff([*starts, len(steps)])
    mean = np.add.reduceat(values, starts) / counts
    at = np.add.reduceat(steps.astype(float), starts) / counts
    return at, mean, np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)


def risk_coverage(curves: Mapping[str, Series], mean: float, label: str) -> str:
    """Error of the answered queries over their part of all; `mean`: of all, which chance keeps."""
    with figure(HALF, label) as (axes, finish):
        for color, (name, (coverage, risk)) in zip(SERIES, curves.items(), strict=False):
            shown = coverage >= 0.01  # The first few answers are chance.
            axes.plot(coverage[shown], risk[shown], color=color, linewidth=1.7, label=name)
        axes.axhline(mean, color=INK, linewidth=1, linestyle=(0, (3, 2)), label="chance")
        part = np.linspace(0, 1, 101)[1:]
        best = best_order(part, mean)
        axes.plot(part, best, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="best order")
        axes.set_xlim(0, 1)
        highest = max(risk[coverage >= 0.01].max() for coverage, risk in curves.values())
        axes.set_ylim(0, max(0.1, 1.1 * max(mean, highest)))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(percent))
        axes.grid(axis="x", visible=False)
        value_axis(axes)
        axes.set_xlabel("queries that are answered")
        axes.set_ylabel("error of those answered")
        legend(axes, 4)
        return finish()


def best_order(part: np.ndarray, mean: float) -> np.ndarray:
    """Error, of 0 or 1 each, where all that are right are answered first; `mean`: that of all."""
    return np.maximum(0, part - (1 - mean)) / part


def reliability(said: np.ndarray, true: np.ndarray, pairs: np.ndarray, label: str) -> str:
    """In bins of probability: the part of pairs that match, and the probability that was given."""
    bins, known = len(pairs), np.flatnonzero(pairs)
    with figure(HALF, label) as (axes, finish):
        middle = (known + 0.5) / bins
        axes.bar(middle, true[known], width=0.82 / bins, color=SERIES[0], alpha=0.85)
        for x, y in zip(middle, said[known], strict=True):
            axes.plot([x - 0.41 / bins, x + 0.41 / bins], [y, y], color=SERIES[1], linewidth=2)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        axes.bar(0, 0, color=SERIES[0], alpha=0.85, label="matches")
        axes.plot([], [], color=SERIES[1], linewidth=2, label="probability given")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.grid(axis="x", visible=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(FuncFormatter(percent))
        axes.set_xlabel("probability that the model gives a pair")
        legend(axes, 2)
        return finish()


def counts(pairs: np.ndarray, label: str) -> str:
    """How many pairs are in each bin of probability, on a logarithmic scale."""
    bins, known = len(pairs), np.flatnonzero(pairs)
    with figure(HALF, label) as (axes, finish):
        axes.bar((known + 0.5) / bins, pairs[known], width=0.82 / bins, color=SERIES[4], alpha=0.85)
        axes.set_yscale("log")
        axes.set_ylim(0.7, 2 * pairs.max())
        axes.set_xlim(0, 1)
        axes.grid(axis="x", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(percent))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlabel("probability that the model gives a pair")
        axes.set_ylabel("pairs (log scale)")
        return finish()


def shares(groups: Mapping[str, tuple[float, float]], names: tuple[str, str], label: str) -> str:
    """For each group two bars below each other, in [0, 1], with their values."""
    with figure((5.0, 0.5 * len(groups) + 0.75), label) as (axes, finish):
        for row, name, color in ((0, names[0], SERIES[0]), (1, names[1], LINE)):
            at = np.arange(len(groups)) + 0.36 * row - 0.18
            values = [pair[row] for pair in groups.values()]
            axes.barh(at, values, height=0.32, color=color, label=name)
            for y, value in zip(at, values, strict=True):
                axes.annotate(
                    share(value), (value, y), (4, 0), textcoords="offset points", va="center",
                    fontsize=7.5, color=MUTED if row else INK,
                )  # fmt: skip
        axes.set_yticks(range(len(groups)), list(groups), color=INK)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(0, 1.08)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(FuncFormatter(percent))
        axes.grid(axis="y", visible=False)
        legend(axes, 2)
        return finish()
