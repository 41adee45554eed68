"""Figures as SVG that takes its colours and fonts from the page that it is put into."""

import html
import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

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
SMALL = (3.5, 2.1)
NICE = [1, 2, 2.5, 5, 10]  # Steps between ticks.


@contextmanager
def figure(size: tuple[float, float], label: str) -> Iterator[tuple[Axes, Callable[[], str]]]:
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


def short(value: float, _: object = None) -> str:
    """A tick label without needless digits; small and large ones in scientific notation."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return minus(f"{value:,.10g}" if abs(value) >= 1000 else f"{value:.4g}")
    mantissa, exponent = f"{value:.1e}".split("e")
    return minus(f"{mantissa.removesuffix('.0')}e{int(exponent)}")


def percent(value: float, _: object = None) -> str:
    """A tick label of a part."""
    return f"{100 * value:.0f} %"


def legend(axes: Axes, columns: int, **options: Any) -> None:
    """Names in a row above the plot, where they cover nothing."""
    axes.legend(
        frameon=False, ncols=columns, loc="lower left", bbox_to_anchor=(-0.01, 1.0),
        borderaxespad=0.2, **{"handletextpad": 0.5, "handlelength": 1.4, "columnspacing": 1.2}
        | options,
    )  # fmt: skip


def step_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=NICE))
    axes.xaxis.set_major_formatter(FuncFormatter(_count))
    axes.grid(axis="x", visible=False)
    axes.margins(x=0.01)


def _count(value: float, _: object = None) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,.0f}"


def value_axis(axes: Axes) -> None:
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=NICE))
    else:
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(short))


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
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
