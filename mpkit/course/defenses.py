"""Attacks against defenses: what was recorded with ``mpkit compare``, and what others published."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

from mpkit.course.recorded import TABLES, Table
from mpkit.data.places import SHIPPED
from mpkit.evaluation.rates import percent
from mpkit.finetuning import WORDS
from mpkit.lab.kit.numbers import notes_for, number_points

RECORDED = SHIPPED / "recorded" / "defenses.json"
PUBLISHED = SHIPPED / "recorded" / "published.json"
NOT_YET = "not recorded yet"
LOOKS = (("metapoison", "#D55E00", "o"), ("gradient-matching", "#0072B2", "s"))
"""The methods that are drawn, each with its colour and marker."""


class Comparison:
    """What ``mpkit compare`` wrote: an entry a way to train, budget, method and defense, each with
    its victims that turned and their interval by target. Shows itself as text and as HTML."""

    def __init__(self, entries: Sequence[dict], where: str = ""):
        self.entries, self.where = list(entries), where

    def of(self, method: str, fine_tune: str) -> list[dict]:
        """The entries of a method for one way to train, a defense each."""
        mine = [e for e in self.entries if (e["method"], e["fine_tune"]) == (method, fine_tune)]
        return list({e["defense"]: e for e in mine}.values())

    def find(self, method: str, fine_tune: str, defense: str) -> dict | None:
        """One of them; None where it was not recorded."""
        return next((e for e in self.of(method, fine_tune) if e["defense"] == defense), None)

    def __str__(self) -> str:
        lines = [
            f"{WORDS[e['fine_tune']]}, {e['method']}, {e['defense']}: {turned(e)}"
            for e in self.entries
        ]
        return "\n".join(lines) or NOT_YET

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.entries:
            return f"<p>The comparison is {NOT_YET}: <code>mpkit compare</code> makes one.</p>"
        tables = [self._table(*group) for group in dict.fromkeys(map(_group, self.entries))]
        return "".join(tables) + f"<p>{html.escape(self.where)}</p>"

    def _table(self, fine_tune: str, budget: float, epsilon: float | None) -> str:
        """Defenses in rows, and what each costs; in columns the methods that met them, and in a
        table of their own those that met none."""
        mine = [e for e in self.entries if _group(e) == (fine_tune, budget, epsilon)]
        methods = list(dict.fromkeys(e["method"] for e in mine))
        met = {e["method"] for e in mine if e["defense"] != "none"}
        bound = "" if epsilon is None else f", ε = {255 * epsilon:.4g}/255"
        title = f"{WORDS[fine_tune]}, {percent(budget, 0)} poisons{bound}"
        found = [[m for m in methods if (m in met) is there] for there in (True, False)]
        return "".join(self._rows(title, mine, some) for some in found if some)

    def _rows(self, title: str, mine: Sequence[dict], methods: Sequence[str]) -> str:
        rows, mine = [], [e for e in mine if e["method"] in methods]
        for defense in dict.fromkeys(e["defense"] for e in mine):
            by = {e["method"]: e for e in mine if e["defense"] == defense}
            clean = next((e.get("clean_accuracy_value") for e in by.values()), None)
            cells = [turned(by[m]).replace(" ", "\n", 1) if m in by else "" for m in methods]
            rows.append([defense, *cells, percent(clean), *_told(next(iter(by.values())))])
        heads = [title, *methods, "clean accuracy", f"thrown away of {methods[0]}'s poisons"]
        heads += ["and of the others", "spent"]
        used = [i for i, head in enumerate(heads) if i < len(heads) - 3 or any(r[i] for r in rows)]
        return table([heads[i] for i in used], [[row[i] for i in used] for row in rows])


def _group(e: dict) -> tuple:
    """What stands in one table; ε is not told by an earlier mpkit."""
    return e["fine_tune"], e["budget"], e.get("epsilon")


def comparison(path: Path = RECORDED) -> Comparison:
    """What was recorded; without entries where nothing was."""
    if not path.exists():
        return Comparison([])
    found = json.loads(path.read_text("utf-8"))
    return Comparison(found["entries"], found.get("where", ""))


def turned(e: dict) -> str:
    """The victims that turned, with the interval."""
    low, high = percent(e["turned_low"], 0), percent(e["turned_high"], 0)
    return f"{e['turned_successes']}/{e['turned_n']} ({low} to {high})"


def _told(e: dict) -> list[str]:
    """The shares of poisons and of others that a filter throws away, and what dp-sgd spends;
    nothing for what is neither."""
    shares = ["" if e.get(name) is None else percent(e[name], 0) for name in ("caught", "lost")]
    return [*shares, e.get("privacy") or ""]


class Beside:
    """Published figures beside ours: the same method, way to train and defense, where both are."""

    def __init__(self, ours: Comparison, path: Path = PUBLISHED):
        self.ours, self.published = ours, json.loads(path.read_text("utf-8"))

    def rows(self, source: str) -> list[list[str]]:
        """Of each figure of a source: method, defense, success and accuracy, theirs and ours."""
        found = []
        for p in self.published[source]:
            e = self.ours.find(p["method"], p["fine_tune"], p["defense"])
            missing = "–" if self.ours.entries else NOT_YET
            own = turned(e) if e else missing
            accuracy = percent(e.get("clean_accuracy_value")) if e else ""
            theirs = [percent(p["success"], 0), percent(p.get("accuracy"))]
            found.append([p["method"], p["defense"], *theirs, own, accuracy])
        return found

    def __str__(self) -> str:
        return "\n".join(" · ".join(row) for source in self.published for row in self.rows(source))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = ["method", "defense", "published", "accuracy", "ours, signs", "accuracy"]
        return "".join(
            f"<p><b>{html.escape(source)}</b></p>{table(heads, self.rows(source))}"
            for source in self.published
        )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table whose rows begin with their name."""
    head = "".join(f"<th scope='col'>{html.escape(h)}</th>" for h in heads)
    body = "".join(
        f"<tr><th scope='row'>{html.escape(name)}</th>"
        + "".join(f"<td style='white-space:pre'>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def draw(found: Comparison, fine_tune: str):
    """Victims that turned against clean accuracy, a row and a numbered point a defense, the
    cheapest first: a figure that pyplot shows, with the axes of the rows and of the points."""
    import matplotlib.pyplot as plt

    figure, (rows, points) = plt.subplots(
        1, 2, figsize=(10, 5), width_ratios=(1.1, 1), layout="constrained"
    )
    known = {e["defense"]: e["clean_accuracy_value"] for e in found.entries
             if e["fine_tune"] == fine_tune and e.get("clean_accuracy_value")}  # fmt: skip
    names = sorted(known, key=known.get, reverse=True)
    for i, (method, colour, marker) in enumerate(LOOKS):
        mine = [e for e in found.of(method, fine_tune) if e["defense"] in known]
        places = [names.index(e["defense"]) + 0.3 * i - 0.15 for e in mine]
        shares = [e["turned_share"] for e in mine]
        ends = [[e["turned_share"] - e["turned_low"] for e in mine],
                [e["turned_high"] - e["turned_share"] for e in mine]]  # fmt: skip
        look = {"color": colour, "fmt": marker, "lw": 1}
        rows.errorbar(shares, places, xerr=ends, label=method, **look)
        points.plot([known[e["defense"]] for e in mine], shares, marker, color=colour, alpha=0.7)
    where = [(known[e["defense"]], e["turned_share"], names.index(e["defense"]) + 1)
             for method, *_ in LOOKS for e in found.of(method, fine_tune)
             if e["defense"] in known]  # fmt: skip
    if not names:
        points.text(0.5, 0.5, NOT_YET, ha="center", transform=points.transAxes)
    else:
        rows.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    rows.set_yticks(range(len(names)), [f"{n} {i}" for i, n in enumerate(names, 1)], fontsize=8)
    rows.invert_yaxis()
    rows.set(xlabel="victims that turned, 95 % interval", xlim=(-0.03, 1.03))
    points.set(xlabel="accuracy of clean victims", ylim=(-0.08, 1.12), ylabel="victims that turned")
    figure.suptitle(WORDS[fine_tune])
    figure.draw_without_rendering()  # only then is known where everything is
    number_points(points, notes_for(points, len(where), fontsize=8), where)
    return rows, points


def draw_times(table: Table = TABLES["equal time"]):
    """Victims that turned against the seconds of crafting, a line a method of rows that are called
    "METHOD, SECONDS s": a figure that pyplot shows, with its axes."""
    import matplotlib.pyplot as plt

    axes = plt.figure(figsize=(6, 3.6), layout="constrained").add_subplot()
    named = [r.label.removesuffix(" s").rsplit(", ", 1) for r in table.results]
    for i, method in enumerate(dict.fromkeys(name for name, _ in named)):
        rows = [r.rate for r, (name, _) in zip(table.results, named, strict=True) if name == method]
        # A little apart, or one interval would hide the other.
        seconds = [float(s) * (1.03 - 0.06 * i) for name, s in named if name == method]
        ends = [[r.rate - r.low for r in rows], [r.high - r.rate for r in rows]]
        look = {"color": LOOKS[i][1], "fmt": LOOKS[i][2] + ("-", "--")[i], "capsize": 3}
        axes.errorbar(seconds, [r.rate for r in rows], ends, label=method, **look)
    ticks = sorted({float(s) for _, s in named})
    axes.set(xscale="log", xlabel="seconds of crafting", ylabel="victims that turned", ylim=(0, 1))
    axes.set_xticks(ticks, [f"{s:g}" for s in ticks])
    axes.minorticks_off()
    axes.legend(fontsize=8, loc="lower right")
    return axes
