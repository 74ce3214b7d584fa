"""The picture of a run, with Pillow alone: what was changed, what for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from mpkit.data import files
from mpkit.evaluation.rates import Rate, percent
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import with_diverged
from mpkit.runs.ghost import Changes, change, changes, likeness, spread
from mpkit.runs.letters import ADVICE, write, written
from mpkit.runs.sheet import (
    INK,
    LARGE,
    LINE,
    MUTED,
    NORMAL,
    PAPER,
    SMALL,
    beside,
    cell,
    levels,
    lines,
    stacked,
)
from mpkit.scenario import Scenario

EDGE, GAP, COLUMNS, TARGETS, LABELS = 20, 8, 6, 3, 140
"""Pixels around the sheet and between pictures; how many poisons and targets are shown; the least
number of pixels for the words left of the rows."""
CALLED = {
    "poisoned": ("trained on the poisons", (213, 94, 0)),
    "clean": ("on the unchanged pictures", (0, 114, 178)),
    "noise": ("with random noise instead", (110, 110, 110)),
}
"""Of each arm, what it is called and its colour."""


def summary_picture(
    path: Path, scenario: Scenario, poisons: Tensor, arms: Mapping[str, dict], note: str = ""
) -> None:
    """Write a PNG: a title in words, up to six poisons, the targets, the mean change, the counts.

    poisons uint8 (P, C, H, W); `arms` as `tallies` gives them; `note` is one more line. Rows are
    base, change and poison; columns are chosen by `ghost.spread`. Beside them stand the targets (up
    to three), and the ghost: the mean change over all poisons, with its `likeness` to each target.
    Changes are shown around grey, magnified as far as the largest fits, their mean as far as 95 of
    100 of its values fit; the factors are written beside them.
    """
    found = changes(scenario, poisons)
    rows, side = _rows(scenario, poisons, found), _side(scenario, found)
    body = beside(rows, side, 24)
    parts = [_words(scenario, found, arms, note), body, _counts(scenario, arms)]
    width = max(part.width for part in parts) + 2 * EDGE
    height = sum(part.height for part in parts) + (len(parts) + 1) * EDGE
    sheet, top = Image.new("RGB", (width, height), PAPER), EDGE
    for part in parts:
        sheet.paste(part, (EDGE, top))
        top += part.height + EDGE
    files.write(path, partial(sheet.save, format="PNG"))


# ── words ───────────────────────────────────────────────────────────────────────────────────────


def title(scenario: Scenario, arms: Mapping[str, dict]) -> str:
    """What happened, in a sentence: whom the victims that learned from poisons took for what."""
    true = quoted(scenario.train.classes[scenario.target_labels[0]])
    return headline(true, _called(scenario), len(scenario.targets), arms)


def headline(true: str, wanted: str, targets: int, arms: Mapping[str, dict]) -> str:
    """The same by names, each in quotes already, and the number of targets."""
    what = f"A {true} is" if targets == 1 else f"{targets} pictures of {true} are"
    if "poisoned" not in arms:
        return f"{what} to be called {wanted}"
    won, n = (arms["poisoned"]["success"][k] for k in ("successes", "n"))
    each = f"by {won:,} of {n:,} victims" if targets == 1 else f"in {won:,} of {n:,} cases"
    return f"{what} called {wanted} {each}"


def _words(scenario: Scenario, found: Changes, arms: Mapping[str, dict], note) -> Image.Image:
    """The title, and what was done."""
    many = len(scenario.bases)
    were, targets = "was" if many == 1 else "were", "target" + "s" * (len(scenario.targets) > 1)
    how = f"{were} changed, by at most {found.largest} of 255 levels. All labels are right, and the"
    if scenario.flips:
        how = f"got the label {_called(scenario)}. No pixel was changed, and the"
    of = f"{many:,} of the {len(scenario.train):,} pictures that they learned from"
    changed = f"{of} {how} {targets} never changed."
    said = [(title(scenario, arms), LARGE, INK), (changed, NORMAL, MUTED)]
    said += [(note, NORMAL, MUTED)] * bool(note)
    if "[U+" in said[0][0]:
        lacking = f"[U+…]: a letter that no font on this machine has. Install one, {ADVICE}."
        said.append((lacking, SMALL, MUTED))
    return lines(said)


def _called(scenario: Scenario) -> str:
    if scenario.goal == "self-concealment":
        return "something else"
    return quoted(scenario.train.classes[scenario.adversarial[0]])


def quoted(name: str) -> str:
    """A class's name in quotes, in letters that can be drawn, not longer than a title bears."""
    name = written(name)
    return f"“{name if len(name) <= 32 else name[:31] + '…'}”"


# ── pictures ────────────────────────────────────────────────────────────────────────────────────


def _rows(scenario: Scenario, poisons: Tensor, found: Changes) -> Image.Image:
    """base | change | poison, a column each for the poisons shown."""
    shown = spread(found.sizes, COLUMNS)
    factor = max(1, 127 // max(1, found.largest))
    columns = []
    for i in shown:
        base = scenario.train.x[scenario.bases[i]]
        delta = change(base, poisons[i])
        columns.append((levels(base), 128 + factor * delta, poisons[i].cpu().numpy()))
    kinds = {int(y) for y in scenario.train.y[scenario.bases]}
    label = quoted(scenario.train.classes[kinds.pop()]) if len(kinds) == 1 else "rightly"
    said = (
        [("base", NORMAL, INK), ("labelled", SMALL, MUTED), (label, SMALL, MUTED)],
        [("change", NORMAL, INK), (f"magnified x{factor}", SMALL, MUTED)],
        [("poison", NORMAL, INK), ("label unchanged", SMALL, MUTED)],
    )
    if scenario.flips:
        said[2][1:] = [(text, SMALL, MUTED) for text in ("labelled", _called(scenario))]
    if len(shown) < len(poisons):
        which = f"{len(shown)} of {len(poisons):,}, from the", "most changed to", "the least"
        said[1].extend((text, SMALL, MUTED) for text in which)
    words = [lines(each, 2) for each in said]
    wide = max(LABELS, *(part.width + GAP for part in words))
    rows = []
    for r, part in enumerate(words):
        row = Image.new("RGB", (wide, part.height), PAPER)
        row.paste(part, (0, 0))
        for column in columns:
            row = beside(row, cell(column[r]), GAP)
        rows.append(row)
    return stacked(rows, GAP)


def _side(scenario: Scenario, found: Changes) -> Image.Image:
    """The targets, and under them the ghost with what it has in common with them."""
    mean, targets = found.mean.numpy(), scenario.targets[:TARGETS]
    factor = 127 / max(1e-9, float(np.quantile(np.abs(mean), 0.95)))
    factor = max(1, int(factor)) if mean.any() else 1
    pictures = cell(levels(targets[0]), 160)
    for target in targets[1:]:
        pictures = beside(pictures, cell(levels(target), 160), GAP)
    true = quoted(scenario.train.classes[scenario.target_labels[0]])
    more = len(scenario.targets) - len(targets)
    name = f"the target, a {true}" if len(scenario.targets) == 1 else f"targets, all {true}"
    said = [
        (name + (f", and {more} more" if more else ""), NORMAL, INK),
        (f"shall be called {_called(scenario)}", SMALL, MUTED),
    ]
    alike = ", ".join(f"{likeness(found.mean, target):+.2f}" for target in targets)
    many = len(found.sizes)
    whose = f"mean change of all {many:,}" if many > 1 else "its change"
    ghost = [
        (f"{whose}, x{factor}", NORMAL, INK),
        (f"cosine with the target{'s' * (len(targets) > 1)}: {alike}", SMALL, MUTED),
    ]
    parts = [pictures, lines(said, 2), cell(128 + factor * mean, 160), lines(ghost, 2)]
    return stacked(parts, GAP)


# ── counts ──────────────────────────────────────────────────────────────────────────────────────


def _counts(scenario: Scenario, arms: Mapping[str, dict]) -> Image.Image:
    """Of each arm the share of successes with its interval, drawn and in numbers, and accuracy."""
    shown = [arm for arm in ARMS if arm in arms]
    left, wide, high, head = 220, 300, 30, 34
    width = left + wide + 520
    sheet = Image.new("RGB", (width, head + high * len(shown) + 30), PAPER)
    draw = ImageDraw.Draw(sheet)
    who = "Fresh victims that call the target"
    if len(scenario.targets) > 1:
        who = "Cases in which a fresh victim calls a target"
    text = f"{who} {_called(scenario)}, with 95 % intervals"
    write(draw, (0, 0), text, NORMAL, INK)
    bottom = head + high * len(shown)
    for share in (0, 0.5, 1):
        x = left + wide * share
        draw.line([(x, head), (x, bottom)], LINE)
        write(draw, (x, bottom + 4), percent(share, 0), SMALL, MUTED, "ma")
    for i, arm in enumerate(shown):
        (name, colour), found, y = CALLED[arm], Rate(**arms[arm]["success"]), head + high * i + 15
        write(draw, (0, y), name, SMALL, INK, "lm")
        draw.line([(left + wide * found.low, y), (left + wide * found.high, y)], colour, 5)
        x = left + wide * found.rate
        draw.ellipse([x - 7, y - 7, x + 7, y + 7], colour)
        ends = f"{percent(found.low, 0)} to {percent(found.high, 0)}"
        words = f"{found.successes:,} of {found.n:,} ({ends})"
        words = with_diverged(words, arms[arm].get("diverged", 0))
        write(draw, (left + wide + 24, y), words, SMALL, INK, "lm")
        words = f"accuracy on other pictures {percent(arms[arm]['accuracy'])}"
        write(draw, (left + wide + 260, y), words, SMALL, MUTED, "lm")
    return sheet
