"""Points in the plane of UnrollLab, taken by hand in a real JupyterLab."""

from __future__ import annotations

import re
import time

import pytest
from server import Notebook, expect

CELLS = ["from mpkit.lab import UnrollLab", "lab = UnrollLab()\nlab"]
PLACE = "lab.poisons[{}].tolist()"
EDGE = 2.4  # of the plane


class Hand:
    """A mouse over the handles of a lab."""

    def __init__(self, book: Notebook):
        self.book, self.page = book, book.page
        self.layer = book.page.locator(".mpkit-handles-layer")

    def handle(self, which: int):
        return self.page.get_by_role("button", name=re.compile(rf"^poison {which + 1}:"))

    def pixel(self, place) -> tuple[float, float]:
        """Where a place of the plane is on the page."""
        box = self.layer.bounding_box()
        across, down = (place[0] + EDGE) / (2 * EDGE), (EDGE - place[1]) / (2 * EDGE)
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def middle(self, which: int) -> tuple[float, float]:
        box = self.handle(which).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(self, which: int, place, release: bool = True) -> None:
        for _ in range(20):
            self.page.mouse.move(*self.middle(which))
            self.page.mouse.down()
            if self.handle(which).evaluate("some => some === document.activeElement"):
                break
            self.page.mouse.up()  # in a run it may have moved on before the hand came
        self.page.mouse.move(*self.pixel(place), steps=8)
        if release:
            self.page.mouse.up()

    def comes_to(self, which: int, place) -> None:
        """Wait until the handle stands at a place."""
        end = time.monotonic() + 30
        while not self.near(which, place):
            assert time.monotonic() < end, f"{self.middle(which)}, and not {self.pixel(place)}"
            self.page.wait_for_timeout(50)

    def near(self, which: int, place) -> bool:
        """Whether the handle stands at a place, to two pixels."""
        return all(
            abs(a - b) < 2 for a, b in zip(self.middle(which), self.pixel(place), strict=True)
        )


@pytest.fixture
def hand(notebook):
    book = notebook(CELLS)
    book.settled()
    found = Hand(book)
    found.handle(0).wait_for()
    return found


def test_a_point_is_dragged_and_the_picture_follows(hand):
    book = hand.book
    start = book.ask(PLACE.format(1))
    assert hand.near(1, start)  # the handles stand where the figure has the points
    others = book.ask("[lab.poisons[i].tolist() for i in (0, 2, 3)]")
    picture = book.page.locator("img[alt][style*='max-width']").first
    before = picture.get_attribute("alt")
    wanted = [start[0] - 0.4, start[1] + 0.2]
    hand.drag(1, wanted)
    book.wait_for(f"max(abs(a - b) for a, b in zip(lab.poisons[1].tolist(), {wanted})) < 0.02")
    expect(picture).not_to_have_attribute("alt", before)
    there = book.ask(PLACE.format(1))
    assert hand.near(1, there)
    assert book.ask("[lab.poisons[i].tolist() for i in (0, 2, 3)]") == others
    # the sliders tell of the one that was taken, when all else is drawn
    book.wait_for(f"abs(lab.controls['x'].value - {there[0]}) < 6e-4")
    assert book.ask("[lab.controls[n].value for n in ('which', 'x', 'y')]") == [
        2, *(round(v, 3) for v in there)
    ]  # fmt: skip


def test_a_point_is_held_at_the_edge_of_its_box_and_does_not_snap_back(hand):
    book = hand.book
    start = book.ask(PLACE.format(0))
    edge = [start[0] - 0.6, start[1] + 0.6]  # ε is 0.6
    hand.drag(0, [start[0] - 1.5, start[1] + 1.2], release=False)
    book.wait_for(f"max(abs(a - b) for a, b in zip(lab.poisons[0].tolist(), {edge})) < 1e-5")
    assert hand.near(0, edge)  # while the pointer is far beyond
    expect(book.page.locator(".mpkit-handles-box")).to_be_visible()
    book.page.mouse.up()
    book.page.wait_for_timeout(700)
    assert hand.near(0, edge)
    assert book.ask(PLACE.format(0)) == pytest.approx(edge, abs=1e-5)
    book.press("Step")  # and a move along the arrows begins there
    book.wait_for("lab.runner.steps == 1 and lab.runner.phase.value == 'paused'")
    moved = book.ask(PLACE.format(0))
    assert max(abs(a - b) for a, b in zip(moved, edge, strict=True)) < 0.1
    expect(hand.handle(0)).to_have_attribute(
        "aria-label", f"poison 1: x {moved[0]:.2f}, y {moved[1]:.2f}"
    )
    assert hand.near(0, moved)


def test_arrow_keys_move_a_point_and_the_box_holds_it(hand):
    book = hand.book
    start = book.ask(PLACE.format(2))
    hand.handle(2).focus()
    expect(book.page.get_by_role("spinbutton", name="poison", exact=True)).to_have_value("3")
    assert book.ask(PLACE.format(2)) == start  # taken, and not moved
    for _ in range(3):
        book.page.keyboard.press("ArrowLeft")
    book.page.keyboard.press("Shift+ArrowUp")
    wanted = [start[0] - 0.15, start[1] + 0.25]
    book.wait_for(f"max(abs(a - b) for a, b in zip(lab.poisons[2].tolist(), {wanted})) < 1e-5")
    for _ in range(4):
        book.page.keyboard.press("Shift+ArrowLeft")
    book.wait_for(f"abs(lab.poisons[2, 0].item() - {start[0] - 0.6}) < 1e-5")
    expect(hand.handle(2)).to_be_focused()
    expect(hand.handle(2)).to_have_attribute(
        "aria-label", f"poison 3: x {start[0] - 0.6:.2f}, y {wanted[1]:.2f}"
    )


def test_a_point_is_dragged_while_the_lab_runs(hand):
    book = hand.book
    book.do("lab.moves = 3000")
    book.press("Run")
    book.wait_for("lab.runner.steps > 5")
    start = book.ask("lab.toy.poisons[3].tolist()")
    hand.drag(3, [start[0] + 0.3, start[1] - 2], release=False)
    edge = [start[0] + 0.3, start[1] - 0.6]
    book.wait_for(f"max(abs(a - b) for a, b in zip(lab.poisons[3].tolist(), {edge})) < 0.02")
    book.page.wait_for_timeout(300)  # the last of its way
    there, steps = book.ask(PLACE.format(3)), book.ask("lab.runner.steps")
    book.wait_for(f"lab.runner.steps > {steps + 3}")
    assert book.ask(PLACE.format(3)) == there  # no step takes it out of the hand
    book.page.mouse.up()
    book.wait_for(f"lab.poisons[3].tolist() != {there}")
    steps = book.ask("lab.runner.steps")
    book.wait_for(f"lab.runner.steps > {steps + 3}")
    book.press("Pause")
    book.wait_for("lab.runner.phase.value == 'paused'")
    assert book.ask("lab.runner.error is None")
    hand.comes_to(3, book.ask(PLACE.format(3)))
