"""Arrays -> SVG that takes its colours and fonts from the page that it is put into."""

import html
import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from prolip.report.read import Series
from prolip.report.words import minus

# Stand for the page's CSS variables, so that one figure serves the light and the dark page.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
SERIES = [f"#04040{i}" for i in range(1, 7)]
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line"} | {
    color: f"--c{i}" for i, color in enumerate(SERIES, 1)
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # Names may have dollar signs.
    "svg.hashsalt": "report",  # The same run gives the same file.
    "font.size": 8,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}
MAX_POINTS = 300  # Of a training curve; more are summarised by their mean and range.
MAX_DOTS = 3000  # Of a scatter plot.
SMALL = (3.5, 2.1)
NICE = [1, 2, 2.5, 5, 10]  # Steps between ticks.


def curves(series: Mapping[str, Series], label: str, smoothed: bool = True) -> str:
    """Training curves in one plot: the smoothed line over the raw one, or the raw one alone."""
    with _figure(SMALL, label) as (axes, finish):
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
        _steps(axes)
        _value_axis(axes)
        if len(ends) > 1:
            _label_ends(axes, ends)
        return finish()


def over_steps(lines: Mapping[str, Series], label: str) -> str:
    """A metric at each evaluated step; the first line is the main one."""
    with _figure(SMALL, label) as (axes, finish):
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
        _steps(axes)
        _value_axis(axes)
        if len(ends) > 1:
            _label_ends(axes, ends)
        return finish()


def scatter(
    matches: np.ndarray, uncertainty: np.ndarray, level: np.ndarray, levels: Sequence[str],
    label: str,
) -> str:  # fmt: skip
    """Uncertainty of captions over their number of matches (log), coloured by level."""
    random = np.random.default_rng(0)
    shown = random.permutation(len(matches))[:MAX_DOTS]  # No level covers the others.
    at = matches[shown] * np.exp(random.uniform(-0.11, 0.11, len(shown)))
    with _figure((5.0, 3.3), label) as (axes, finish):
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
        _value_axis(axes)
        axes.set_xlabel("images that the caption matches (log scale)")
        axes.set_ylabel("uncertainty of the caption")
        axes.legend(
            frameon=False, ncols=len(levels), loc="lower left", bbox_to_anchor=(-0.01, 1.0),
            handletextpad=0.1, columnspacing=1.2, borderaxespad=0.2, markerscale=1.4,
        )  # fmt: skip
        return finish()


def boxes(groups: Mapping[str, np.ndarray], label: str) -> str:
    """For each group its 5 to 95 percent range, its quartiles and its median."""
    with _figure((3.9, 0.55 * len(groups) + 0.65), label) as (axes, finish):
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
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.set_xlabel("uncertainty")
        return finish()


def bins(accuracy: np.ndarray, label: str) -> str:
    """Accuracy in bins of equal size, from the most to the least certain."""
    known = np.flatnonzero(np.isfinite(accuracy))
    with _figure(SMALL, label) as (axes, finish):
        axes.bar(known + 1, accuracy[known], width=0.72, color=SERIES[0], alpha=0.85)
        axes.axhline(accuracy[known].mean(), color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_xticks([1, len(accuracy)], ["most certain", "least certain"])
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        axes.set_xlim(0.5, len(accuracy) + 0.5)
        axes.set_ylim(0, max(0.1, 1.12 * accuracy[known].max()))
        axes.grid(axis="x", visible=False)
        _value_axis(axes)
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


@contextmanager
def _figure(size: tuple[float, float], label: str) -> Iterator[tuple[Axes, Callable[[], str]]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
        axes = figure.add_subplot()
        yield axes, lambda: _svg(figure, label)


def _svg(figure: Figure, label: str) -> str:
    """The figure as an element of a page: no prologue, no namespaces, no fixed size or colours."""
    file = io.StringIO()
    none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=none)
    text = file.getvalue()
    head, body = text[text.index("<svg") :].split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    for color, variable in _VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    # Ids are of the whole page: only those that are used stay, with a prefix of this figure.
    used, own = set(re.findall(r"[\"(]#([\w-]+)", body)), f"f{zlib.crc32(body.encode()):x}-"
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{own}{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r"([\"(])#([\w-]+)", rf"\1#{own}\2", body)
    body = re.sub(r"(font(?:-family)?): ?([\d.]+px )?[^;\"]*DejaVu Sans[^;\"]*", _font, body)
    name = html.escape(label, quote=True)
    return f'<svg role="img" aria-label="{name}" {view.group() if view else ""}>{body}'


def _font(found: re.Match[str]) -> str:
    return f"font-size: {found.group(2).strip()}" if found.group(2) else "font-family: inherit"


def _short(value: float, _: object = None) -> str:
    """A tick label without needless digits; small and large ones in scientific notation."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return minus(f"{value:,.10g}" if abs(value) >= 1000 else f"{value:.4g}")
    mantissa, exponent = f"{value:.1e}".split("e")
    return minus(f"{mantissa.removesuffix('.0')}e{int(exponent)}")


def _steps(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=NICE))
    axes.xaxis.set_major_formatter(FuncFormatter(_count))
    axes.grid(axis="x", visible=False)
    axes.margins(x=0.01)


def _count(value: float, _: object = None) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,.0f}"


def _value_axis(axes: Axes) -> None:
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=NICE))
    else:
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(_short))


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Names lines at their right end, pushed apart where they meet."""
    low, high = axes.get_ylim()
    to_part = axes.transLimits.transform if axes.get_yscale() == "linear" else None
    parts = [
        float(to_part((0, y))[1]) if to_part else float(np.log(y / low) / np.log(high / low))
        for _, _, y, _ in ends
    ]
    order = np.argsort(parts)
    for below, above in itertools.pairwise(order):
        gap = 0.11 - (parts[above] - parts[below])
        if gap > 0:
            parts[below], parts[above] = parts[below] - gap / 2, parts[above] + gap / 2
    for (name, _, _, color), part in zip(ends, parts, strict=True):
        axes.annotate(
            name, (1.015, min(max(part, 0.02), 0.98)), xycoords="axes fraction", va="center",
            fontsize=7.5, color=color,
        )  # fmt: skip
