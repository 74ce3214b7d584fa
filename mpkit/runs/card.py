"""What came of a run on one card, as a picture to be shown and sent on; with Pillow alone."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from mpkit.evaluation.rates import Rate, percent
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import with_diverged
from mpkit.runs.ghost import change, changes, spread
from mpkit.runs.letters import width, write, written
from mpkit.runs.sheet import INK, LINE, MUTED, PAPER, cell, levels
from mpkit.runs.story import Story
from mpkit.runs.summary import CALLED, quoted

WIDE, HIGH, EDGE, TARGET, SMALL = 1200, 675, 48, 352, 160
"""Pixels of the card, which has the shape of a screen; of its edge, the target and the others."""
ACCENT, TINT = (213, 94, 0), (250, 247, 243)
FOOT = 136
"""Pixels at the bottom, for how it was made."""


def card(story: Story) -> bytes:
    """The card as a PNG: the target and what it is called now, the rate with n and its interval
    beside both controls, what was changed, the settings and the share code.

    The code stands in the file as well, as the text "mpkit", so that nobody need type it.
    """
    sheet, told = Image.new("RGB", (WIDE, HIGH), PAPER), PngInfo()
    draw = ImageDraw.Draw(sheet)
    left = EDGE + TARGET + EDGE
    _target(sheet, draw, story)
    _rates(draw, story, (left, _headline(draw, story, left) + 12))
    _pictures(sheet, draw, story, (left, 336))
    _settings(draw, story)
    draw.rectangle([0, 0, 10, HIGH], ACCENT)
    told.add_itxt("mpkit", story.code)
    file = io.BytesIO()
    sheet.save(file, format="PNG", pnginfo=told)
    return file.getvalue()


def _fit(text: str, size: int, room: float) -> tuple[str, int]:
    """The text with the largest size, down to three fifths, at which it fits; cut if it must."""
    least = size * 3 // 5
    while width(text, size) > room and size > least:
        size -= 1
    while width(text, size) > room and len(text) > 1:
        text = text[:-2].rstrip() + "…"
    return text, size


def _line(draw: ImageDraw.ImageDraw, at, text: str, size: int, colour=INK, room=None) -> int:
    """A line, no wider than `room`; where the next one may begin."""
    text, size = _fit(written(text), size, room or WIDE - EDGE - at[0])
    write(draw, at, text, size, colour)
    return at[1] + round(1.32 * size)


def _put(sheet: Image.Image, picture: Image.Image, at: tuple[int, int], side: int) -> None:
    """A picture in a square, whole, at its upper left."""
    picture.thumbnail((side, side))
    sheet.paste(picture, at)


def _target(sheet: Image.Image, draw: ImageDraw.ImageDraw, story: Story) -> None:
    at = (EDGE, EDGE)
    if story.scenario is None:
        draw.rectangle([*at, at[0] + TARGET, at[1] + TARGET], TINT, LINE)
        words = ("the pictures of this run", "are not on this machine")
        for i, line in enumerate(words):
            write(
                draw, (EDGE + TARGET / 2, EDGE + TARGET / 2 + 24 * (i - 0.5)), line, 17, MUTED, "mm"
            )
    else:
        _put(sheet, cell(levels(story.scenario.targets[0]), TARGET), at, TARGET)
    y = _line(
        draw, (EDGE, EDGE + TARGET + 14), f"the target: {quoted(story.true)}", 22, INK, TARGET
    )
    said = "It never changed." if _flips(story) else "It never changed, nor did any label."
    _line(draw, (EDGE, y), said, 16, MUTED, TARGET)


def _flips(story: Story) -> bool:
    return story.attack.settings.method == "label-flip"


def _headline(draw: ImageDraw.ImageDraw, story: Story, left: int) -> int:
    """What it is called now, and by how many."""
    found = story.arms.get("poisoned")
    y = _line(draw, (left, EDGE - 6), story.title(quoted), 32)
    if not found:
        return _line(draw, (left, y + 6), "No victims have been trained yet.", 19, MUTED)
    many = len(story.poisons) if story.poisons is not None else None
    done = f"{many:,} training pictures" if many else "Training pictures"
    how = "were changed, a little, and no label."
    if _flips(story):
        how = f"got the label {quoted(story.wanted)}, and no pixel was changed."
    return _line(draw, (left, y + 4), f"{done} {how}", 19, MUTED)


def _rates(draw: ImageDraw.ImageDraw, story: Story, at: tuple[int, int]) -> None:
    """The share of each arm with its interval, drawn and in numbers."""
    (left, top), wide = at, 200
    bar, end = left + 244, left + 244 + wide
    for i, arm in enumerate(a for a in ARMS if a in story.arms):
        (name, colour), found, first = CALLED[arm], story.arms[arm], i == 0
        r, y = Rate(**found["success"]), top + 20 + 50 * i
        write(draw, (left, y), name, 18, INK if first else MUTED, "lm")
        draw.line([(bar, y), (end, y)], LINE, 2)
        draw.line([(bar + wide * r.low, y), (bar + wide * r.high, y)], colour, 9)
        x = bar + wide * r.rate
        draw.ellipse([x - 10, y - 10, x + 10, y + 10], colour, PAPER, 2)
        words, size = f"{r.successes:,} of {r.n:,}", 26 if first else 19
        write(draw, (end + 24, y), words, size, INK, "lm")
        ends = f"{percent(r.low, 0)} to {percent(r.high, 0)}{' (95 %)' * first}"
        x = end + 38 + width(words, size)
        said, size = _fit(with_diverged(ends, found.get("diverged", 0)), 16, WIDE - 24 - x)
        write(draw, (x, y), said, size, MUTED, "lm")


def _pictures(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, story: Story, at: tuple[int, int]
) -> None:
    """base + change = poison, of the poison that is changed as most are."""
    if story.scenario is None or story.poisons is None:
        return
    found = changes(story.scenario, story.poisons)
    i = spread(found.sizes, 3)[len(spread(found.sizes, 3)) // 2]
    base = story.scenario.train.x[story.scenario.bases[i]]
    delta, factor = change(base, story.poisons[i]), max(1, 127 // max(1, found.largest))
    parts = (
        (levels(base), "a training picture", "+"),
        (128 + factor * delta, f"its change, x{factor}", "="),
        (story.poisons[i].cpu().numpy(), "its poison", ""),
    )
    for k, (picture, name, sign) in enumerate(parts):
        x = at[0] + k * (SMALL + 88)
        _put(sheet, cell(picture, SMALL), (x, at[1]), SMALL)
        write(draw, (x + SMALL / 2, at[1] + SMALL + 8), name, 16, MUTED, "ma")
        write(draw, (x + SMALL + 44, at[1] + SMALL / 2), sign, 36, MUTED, "mm")


def _settings(draw: ImageDraw.ImageDraw, story: Story) -> None:
    """What it was run with, and the code that gives it to others, whole."""
    top = HIGH - FOOT
    draw.rectangle([0, top, WIDE, HIGH], TINT)
    parts = [f"{name} {value}" for name, value in story.settings]
    y, half = top + 12, -(-len(parts) // 2)
    for some in (parts[:half], parts[half:]):
        y = _line(draw, (EDGE, y), "   ·   ".join(some), 16)
    room, code = WIDE - 3 * EDGE - width("mpkit", 22), f"share code {story.code}" * bool(story.code)
    size = next(
        s for s in range(15, 5, -1) if s < 7 or width(code, s) < (HIGH - y - 16) // (1.4 * s) * room
    )
    most = max(1, int(len(code) * room / max(1, width(code, size))) - 2)
    for at in range(0, len(code), most):
        y = _line(draw, (EDGE, y + 1), code[at : at + most], size, MUTED)
    write(draw, (WIDE - EDGE - width("mpkit", 22), HIGH - 30), "mpkit", 22, ACCENT, "lm")
