"""What came of a contest: one page for everybody, and a marking sheet for the teacher."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mpkit.contest.contest import Contest, lost_of
from mpkit.contest.score import RULES, Cell, Score, scores, table_of
from mpkit.data import files
from mpkit.data.names import one_line
from mpkit.evaluation.rates import percent

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color-scheme: light dark; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { border: 1px solid #888; padding: .3rem .6rem; text-align: left; vertical-align: top; }
small { display: block; opacity: .8; }
"""
KNOWN = (
    "The target of pictures made elsewhere ({teams}) was known beforehand. All blue teams met it "
    "as well, and its victims are counted with those of the targets that were drawn."
)
CLEAN, BARE = "clean pictures (nobody attacks)", "no defense"


def write_report(contest: Contest) -> tuple[Path, Path]:
    """Write report.html and marking.csv into the contest's folder; their paths."""
    results = contest.results()
    page, sheet = contest.folder / "report.html", contest.folder / "marking.csv"
    files.write(page, report(contest, results).encode())
    files.write(sheet, marking(contest, results).encode("utf-8-sig"))  # or Excel reads no umlauts
    return page, sheet


# ── the page ────────────────────────────────────────────────────────────────────────────────────


def report(contest: Contest, results: Iterable[dict]) -> str:
    """One HTML page: who won, the table of pairs, the rules, and who was refused or lost."""
    results, limits = list(results), contest.limits
    drawn = contest.draw["targets"] if contest.draw else []
    ranked = [
        (s.team, s.side, str(s), "" if s.price is None else percent(s.price), _what(contest, s))
        for s in scores(contest, results)
    ]
    said = sorted((t.team, t.side, t.note) for t in contest.teams if t.note)
    elsewhere = [t.team for t in contest.side("red") if t.poisons is not None]
    parts = [
        "<h1>Red and blue</h1>",
        f"<p>{_words(RULES.format(allowance=percent(limits.allowance)))}</p>",
        _table("Points", ("team", "side", "points", "price in accuracy", "handed in"), ranked),
        pairs_table(contest, results),
        f"<p>{_words(KNOWN.format(teams=', '.join(elsewhere)))}</p>" if elsewhere else "",
        _limits(contest),
        _table(
            "Targets, drawn after everything was handed in",
            ("shown", "shall be called", "number"),
            drawn,
        ),
        _table("Refused", ("file", "why"), sorted(contest.refused.items())),
        _table("What teams say", ("team", "side", "note"), said),
    ]
    head = (
        '<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>Red and blue</title>"
    )
    style = f"<style>{STYLE}</style>"
    body = "\n".join(filter(None, parts))
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}{style}</head>\n<body>{body}</body></html>\n'
    )


def pairs_table(contest: Contest, results: Iterable[dict]) -> str:
    """Red teams down, blue teams across, as an HTML table: victims that turned, and accuracy."""
    results = list(results)
    table, lost = table_of(results), lost_of(results)
    reds = [None, *(t.team for t in contest.side("red"))]
    blues = [None, *(t.team for t in contest.side("blue"))]
    rows = []
    for red in reds:
        cells = (_cell(table.get((red, blue))) for blue in blues)
        # What was counted before a round was lost counts for nobody.
        gone = (("red", red) in lost or ("blue", blue) in lost for blue in blues)
        shown = ("lost" if g else cell for g, cell in zip(gone, cells, strict=True))
        rows.append([CLEAN if red is None else red, *shown])
    names = ("red \\ blue", *(BARE if blue is None else blue for blue in blues))
    return _table("Victims that turned, and accuracy", names, rows)


def _cell(cell: Cell | None) -> str:
    return "–" if cell is None else f"{cell.rate}\naccuracy {percent(cell.accuracy)}"


def _limits(contest: Contest) -> str:
    limits = contest.limits
    rows = [
        ("pictures that may be changed", percent(limits.budget)),
        ("bound on the change, ε", f"{255 * limits.epsilon:.3g}/255"),
        ("processor seconds of crafting, a target", f"{limits.craft_seconds:g}"),
        ("processor seconds of judging, a target and pair", f"{limits.judge_seconds:g}"),
        ("targets × fresh victims", f"{limits.targets} × {limits.victims}"),
        ("all are given", ", ".join(f"{k} {v}" for k, v in limits.ground.items()) or "the usual"),
    ]
    if contest.draw:
        rows.append(("seed of the draw", contest.draw["seed"]))
    return _table("Limits", ("what", "how much"), rows)


def _what(contest: Contest, score: Score) -> str:
    return next(t.what for t in contest.side(score.side) if t.team == score.team)


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table with a caption; "" without rows. A second line of a cell is small."""
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td>{_lines(value)}</td>" for value in others)
        lines.append(f'<tr><th scope="row">{_words(first)}</th>{cells}</tr>')
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{_words(name)}</th>' for name in names)
    return f"<table><caption>{_words(title)}</caption><tr>{head}</tr>{''.join(lines)}</table>"


def _lines(value: object) -> str:
    first, *others = str(value).split("\n")
    return _words(first) + "".join(f"<small>{_words(line)}</small>" for line in others)


def _words(value: object) -> str:
    return html.escape(one_line(str(value)))


# ── the marking sheet ───────────────────────────────────────────────────────────────────────────

CRITERIA = Path(__file__).with_name("marking.csv")
GIVEN = ("full marks", "half", "none")


def marking(contest: Contest, results: Iterable[dict]) -> str:
    """CSV: a line for each team and criterion; points that the kit cannot give are left blank."""
    with CRITERIA.open(encoding="utf-8", newline="") as file:
        criteria = list(csv.DictReader(file))
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\n")
    sheet.writerow(("team", "side", "criterion", "of", "points", "by", *GIVEN, "seen"))
    notes = {(t.team, t.side): t.note for t in contest.teams}
    for score in scores(contest, results):
        for line in (c for c in criteria if c["side"] in ("both", score.side)):
            points, seen = _marked(score, line, notes[score.team, score.side])
            row = [score.team, score.side, line["criterion"], line["points"], points, line["by"]]
            sheet.writerow(map(_text, [*row, *(line[k] for k in GIVEN), seen]))
    for name, why in sorted(contest.refused.items()):
        row = [name, "", "limits kept", criteria[0]["points"], 0, "kit", "", "", ""]
        sheet.writerow(map(_text, [*row, f"refused: {why}"]))
    return out.getvalue()


def _marked(score: Score, line: dict, note: str) -> tuple[object, str]:
    """The points that the kit gives, "" where the teacher does; and what was seen."""
    of = int(line["points"])
    if line["criterion"] == "limits kept":
        return (0, score.lost) if score.lost else (of, "")
    if line["by"] == "kit":
        return "" if score.points is None else round(of * score.points / 100), str(score)
    return "", note if line["criterion"] == "threat model" else ""


FORMULA = re.compile(r"(^|[;,])(\s*)(?=[=+\-@＝＋－＠﹦﹢﹣﹫])")
"""Where a formula could start: in the cell, or in one that another separator would make of it."""


def _text(value: object) -> str:
    """Text on a line, that no spreadsheet takes for a formula."""
    return FORMULA.sub(r"\1\2'", one_line(str(value)))
