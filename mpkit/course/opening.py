"""The picture that chapter 00 opens with, of a run that ships: one picture that nobody changed,
what two models call it, and what was changed in the pictures that the second one learned from.

    mpkit attack --out runs/signs-stop          # whose files are data/recorded/signs-stop
    python -m mpkit.course.opening              # writes notebooks/pictures/opening.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw
from torch import Tensor

from mpkit.data import files
from mpkit.data.places import CHECKOUT, SHIPPED
from mpkit.evaluation.rates import Rate, percent
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import success_rate
from mpkit.runs import record
from mpkit.runs.folder import open_run
from mpkit.runs.ghost import change, changes, spread
from mpkit.runs.letters import width, write
from mpkit.runs.prepared import load_scenario
from mpkit.runs.sheet import INK, MUTED, PAPER, levels
from mpkit.scenario import Scenario

RUN = SHIPPED / "recorded" / "signs-stop"
PICTURE = CHECKOUT / "notebooks" / "pictures" / "opening.png"
FINE = 2
"""Pixels of the file for one of the page, for screens that have so many."""
SIDE, LEFT, GAP, COLUMNS, EDGE = 128, 320, 10, 4, 24
BLUE, RED, LINE = (0, 114, 178), (213, 94, 0), (222, 222, 222)
TEXT, HEAD, SAID = 17, 21, 34


class Opening(NamedTuple):
    """The run: who attacks whom, uint8 poisons (P, C, H, W), of each arm the rate at which its
    models call the target what the attacker wants, and the mean probability of what they mostly
    call it, with the word for it."""

    scenario: Scenario
    poisons: Tensor
    rates: dict[str, Rate]
    said: dict[str, tuple[str, float]]

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Bases and poisons (P, C, H, W) in [0, 1]."""
        return self.scenario.base_images, self.poisons.float() / 255


@cache
def opening() -> Opening:
    """The run that ships. Raises RecordError where it is damaged."""
    run = open_run(RUN)
    scenario, victims = load_scenario(run.attack, progress=False), run.victims()
    poisons, _ = record.load_poisons(RUN)
    rates = {arm: success_rate(victims, arm) for arm in ARMS}
    said = {}
    for arm in ARMS:
        each = [v.probabilities[0] for v in victims if v.arm == arm]
        mean = [sum(column) / len(each) for column in zip(*each, strict=True)]
        said[arm] = scenario.train.classes[mean.index(max(mean))], max(mean)
    return Opening(scenario, poisons, rates, said)


def draw(o: Opening) -> Image.Image:
    """The picture: the target and what is said of it on the left, base, change and poison right."""
    wide = EDGE + LEFT + 2 * EDGE + COLUMNS * (SIDE + GAP) - GAP + EDGE
    high = 2 * EDGE + 3 * (SIDE + GAP + 26) + 32
    sheet = Image.new("RGB", (FINE * wide, FINE * high), PAPER)
    pen = ImageDraw.Draw(sheet)

    def text(x: float, y: float, words: str, size: int = TEXT, colour: tuple = INK) -> None:
        write(pen, (FINE * x, FINE * y), words, FINE * size, colour)

    def picture(x: float, y: float, pixels, side: int) -> None:
        small = Image.fromarray(pixels.clip(0, 255).astype("uint8").transpose(1, 2, 0))
        large = small.resize((FINE * side, FINE * side), Image.Resampling.NEAREST)
        sheet.paste(large, (FINE * x, FINE * y))

    _left(o, pen, text, picture)
    _right(o, text, picture, EDGE + LEFT + 2 * EDGE)
    return sheet


def _left(o: Opening, pen, text, picture) -> None:
    true = o.scenario.train.classes[int(o.scenario.target_labels[0])]
    y = EDGE
    text(EDGE, y, f"This {true} sign was never changed", HEAD)
    picture(EDGE, y := y + 36, levels(o.scenario.targets[0]), LEFT)
    y += LEFT + 12
    many = len(o.scenario.train)
    for arm, colour, who in (
        ("clean", BLUE, f"A model that learned from {many} signs says:"),
        ("poisoned", RED, f"The same, but {len(o.poisons)} of the {many} are changed:"),
    ):
        word, share = o.said[arm]
        text(EDGE, y, who, 16, MUTED)
        text(EDGE, y + 20, f"“{word}”", SAID, colour)
        pen.rectangle([FINE * v for v in (EDGE, y + 64, EDGE + LEFT, y + 72)], LINE)
        pen.rectangle([FINE * v for v in (EDGE, y + 64, EDGE + LEFT * share, y + 72)], colour)
        told = percent(share, 0)
        text(EDGE + LEFT - width(told, TEXT), y + 36, told, TEXT, colour)
        y += 86


def _right(o: Opening, text, picture, x: int) -> None:
    found = changes(o.scenario, o.poisons)
    bases, shown = o.scenario.base_images, spread(found.sizes, COLUMNS)
    factor, label = 127 // found.largest, o.scenario.train.classes[int(o.scenario.adversarial[0])]
    words = (
        f"{COLUMNS} of the {len(bases)}, as they were, labelled “{label}”",
        f"+ the change, made {factor} times as strong here",
        f"= the poisons: still “{label}”, and that is right",
    )
    each = [
        (levels(bases[i]), 128 + factor * change(bases[i], o.poisons[i]), o.poisons[i].numpy())
        for i in shown
    ]
    y = EDGE
    for said, pictures in zip(words, zip(*each, strict=True), strict=True):
        text(x, y, said)
        for k, pixels in enumerate(pictures):
            picture(x + k * (SIDE + GAP), y + 26, pixels, SIDE)
        y += SIDE + GAP + 26
    won = {arm: f"{o.rates[arm].successes} of {o.rates[arm].n}" for arm in ARMS}
    told = f"{won['poisoned']} models; without the change {won['clean']}; with noise {won['noise']}"
    text(x, y + 4, f"Say “{label}”: {told}", 16, MUTED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=PICTURE)
    a = parser.parse_args(arguments)
    files.write(a.out, partial(draw(opening()).save, format="PNG", optimize=True))


if __name__ == "__main__":
    main()
