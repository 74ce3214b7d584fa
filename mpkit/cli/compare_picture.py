"""The picture of a comparison: success against clean accuracy, and a table of all cells."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpkit.evaluation.rates import percent
from mpkit.runs.comparison import Entry

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777", "#000000")
MARKERS = "osD^vP*X"


def picture(found: Sequence[Entry]) -> bytes:
    """A PNG: for each way to train, budget and ε a plot with a point a method and defense, with
    its 95 % interval, and beside it the table of how many victims turned."""
    panels = list(dict.fromkeys(e.panel for e in found))
    methods = list(dict.fromkeys(e.method for e in found))
    tall = [max(4.2, 0.36 * len({e.defense for e in found if e.panel == p}) + 2) for p in panels]
    figure = Figure((13, sum(tall)), layout="constrained", dpi=130)
    grid = figure.subplots(
        len(panels), 2, squeeze=False, gridspec_kw={"height_ratios": tall, "width_ratios": (5, 4)}
    )
    for (left, right), panel in zip(grid, panels, strict=True):
        mine = [e for e in found if e.panel == panel]
        _points(left, mine, methods)
        _table(right, mine, methods)
        left.set_title(", ".join(panel), loc="left")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _points(axes: Axes, found: Sequence[Entry], methods: Sequence[str]) -> None:
    """Success against the accuracy of clean victims under the same defense; each defense has a
    number, as in the table."""
    numbers = {name: i for i, name in enumerate(_defenses(found))}
    for i, method in enumerate(methods):
        mine = [e for e in found if e.method == method and e.clean_accuracy]
        if not mine:
            continue
        x, y = [e.clean_accuracy.value for e in mine], [e.turned.rate for e in mine]
        rates = [e.turned for e in mine]
        ends = [[r.rate - r.low for r in rates], [r.high - r.rate for r in rates]]
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        axes.errorbar(x, y, ends, ls="", elinewidth=0.8, alpha=0.75, label=method, **look)
        for e, at in zip(mine, zip(x, y, strict=True), strict=True):
            if e.defense != "none":
                axes.annotate(
                    str(numbers[e.defense]), at, (4, 4), textcoords="offset points", fontsize=8
                )
    axes.set(xlabel="accuracy of clean victims under the defense", ylim=(-0.04, 1.04))
    axes.set_ylabel("share of victims that turned (95 % interval)")
    axes.xaxis.set_major_formatter(lambda v, _: percent(v, 0))
    axes.yaxis.set_major_formatter(lambda v, _: percent(v, 0))
    if axes.get_legend_handles_labels()[0]:  # none where no clean victims train
        axes.legend(fontsize=8, loc="best")
    axes.grid(alpha=0.3)


def _table(axes: Axes, found: Sequence[Entry], methods: Sequence[str]) -> None:
    """Defenses down, methods across: how many victims turned; and what a defense costs."""
    axes.axis("off")
    there = [m for m in methods if any(e.method == m for e in found)]
    cells = {(e.method, e.defense): percent(e.turned.rate, 0) for e in found}
    prices = {e.defense: e.price for e in found if e.price is not None}
    names = _defenses(found)
    rows = [
        [cells.get((m, d), "") for m in there]
        + ["" if d not in prices or d == "none" else f"{-100 * prices[d]:+.1f}"]
        for d in names
    ]
    table = axes.table(
        rows,
        rowLabels=[f"{i} {name}" if i else name for i, name in enumerate(names)],
        colLabels=[*(m.replace("-", "\n") for m in there), "points of\naccuracy"],
        loc="center",
        cellLoc="center",
    )
    table.auto_set_font_size(False)
    for (row, _), cell in table.get_celld().items():
        cell.set_linewidth(0.3)
        cell.set_fontsize(6 if row == 0 else 7)
        cell.set_height((2.2 if row == 0 else 1) / (len(names) + 3))


def _defenses(found: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(["none", *(e.defense for e in found)]))
