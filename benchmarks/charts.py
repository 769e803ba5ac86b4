"""Charts, as SVG whose text is text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.figure import Figure

from benchmarks.measure import Spread

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "Flask-ETag", "font.size": 11, "axes.grid": True})

DARK = """
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
[style*="fill: #ffffff"] { fill: #0d1117 !important; }
[style*="stroke: #000000"], [style*="stroke: #24292f"] { stroke: #e6edf3 !important; }
[style*="stroke: #b0b0b0"], [style*="stroke: #cccccc"] { stroke: #30363d !important; }
}
"""
"""What a chart is like where its reader prefers a dark page: matplotlib writes its colours into each element."""

Line = Sequence[tuple[float, Spread]]


def lines(file: Path, title: str, x: str, y: str, series: Mapping[str, Line], *, grows: str = "log") -> None:
    """Draw how something grows: medians, and the quartiles around them.

    :param grows: the scale of what is measured.
    """
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, points in series.items():
        at = [where for where, _ in points]
        [drawn] = axes.plot(at, [spread.middle for _, spread in points], marker=".", label=name)
        low, high = [spread.low for _, spread in points], [spread.high for _, spread in points]
        axes.fill_between(at, low, high, alpha=0.2, color=drawn.get_color())
    axes.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale=grows)
    axes.set_xticks(sorted({where for points in series.values() for where, _ in points}))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}")
    axes.minorticks_off()
    if grows == "linear":
        axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, file)


def bars(file: Path, title: str, x: str, measured: Mapping[str, Spread], ours: tuple[str, ...]) -> None:
    """Draw ratios beside one another, with 1 marked: that is the same view without ETags.

    :param ours: how the names begin whose bars stand out.
    """
    figure, axes = pyplot.subplots(figsize=(8, 0.32 * len(measured) + 1), layout="constrained")
    names = list(measured)[::-1]
    middles = [measured[name].middle for name in names]
    errors = [
        [measured[name].middle - measured[name].low for name in names],
        [measured[name].high - measured[name].middle for name in names],
    ]
    axes.barh(
        names, middles, xerr=errors, color=["#8ab4d8" if name.startswith(ours) else "#c9c9c9" for name in names]
    )
    axes.axvline(1, color="#24292f", linewidth=1)
    axes.grid(visible=False, axis="y")
    axes.set(title=title, xlabel=x)
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    let_be_dark(file)


def let_be_dark(file: Path) -> None:
    """Give a chart the colours of a dark page as well, unless it has them."""
    text = file.read_text("utf-8")
    if DARK not in text:
        file.write_text(text.replace("</style>", f"{DARK}</style>", 1), "utf-8")
