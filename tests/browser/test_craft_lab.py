"""The lab in a real browser: what a student's hands do; with both generations of kernels what
depends on how they treat messages."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from server import SMALL, expect, told

BOTH_KERNELS = pytest.mark.parametrize("kernel", ["python3", "ipykernel6"])
THREADS = "sum(t.name == 'mpkit lab' for t in __import__('threading').enumerate())"


def started(lab) -> None:
    lab.press("Run")
    lab.wait_for("lab.runner.steps > 2")


def row(lab, label: str):
    """The control with this label."""
    return lab.page.locator(".widget-hbox", has=lab.page.get_by_text(label, exact=True)).last


def status(lab, panel: int = 0):
    """The line in words under the buttons."""
    return lab.page.get_by_role("status").filter(has_text="craft step").nth(panel)


def records(lab, name: str) -> list:
    return lab.ask(f"[r.{name} for r in lab.records]")


@BOTH_KERNELS
def test_run_all_leaves_the_panel_ready_and_not_started(lab):
    major = 6 if "ipykernel6" in lab.name else 7
    assert lab.ask("__import__('ipykernel').version_info[0]") == major
    expect(lab.page.get_by_text("ready", exact=True)).to_be_visible()
    expect(lab.button("Pause")).to_be_disabled()
    time.sleep(1)
    assert lab.ask("[lab.runner.steps, lab.runner.phase.value]") == [0, "ready"]
    assert lab.ask(THREADS) == 0
    assert lab.page.locator("img[alt*='Nothing has run yet']").count() == 1


@BOTH_KERNELS
def test_run_pause_step_stop_reset(lab):
    started(lab)
    expect(lab.page.get_by_text("running", exact=False).first).to_be_visible()
    lab.press("Pause")
    lab.wait_for("lab.runner.phase.value == 'paused'")
    count = lab.ask("lab.runner.steps")
    expect(status(lab)).to_contain_text(f"paused · craft step {count} of 400")
    time.sleep(1)
    assert lab.ask("[lab.runner.steps, lab.runner.phase.value]") == [count, "paused"]
    expect(status(lab)).to_contain_text(f"paused · craft step {count} of 400")
    lab.press("Step")
    lab.wait_for(f"lab.runner.steps == {count + 1} and lab.runner.phase.value == 'paused'")
    expect(lab.page.locator(f"img[alt*='After craft step {count + 1} ']")).to_be_visible()
    lab.press("Run")
    lab.wait_for(f"lab.runner.steps > {count + 3}")
    lab.press("Stop")
    lab.wait_for("lab.runner.phase.value == 'stopped'")
    expect(lab.button("Run")).to_be_disabled()
    first = records(lab, "loss")
    lab.press("Reset")
    lab.wait_for("lab.runner.phase.value == 'ready' and not lab.records")
    lab.press("Run")
    lab.wait_for(f"len(lab.records) >= {min(6, len(first))}")
    lab.press("Stop")
    lab.wait_for("lab.runner.phase.value == 'stopped'")
    again = records(lab, "loss")
    common = min(len(first), len(again))
    assert common >= 5
    assert again[:common] == first[:common]


def drag(lab, control) -> None:
    box = control.locator(".noUi-handle").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    lab.page.mouse.move(x, y)
    lab.page.mouse.down()
    lab.page.mouse.move(x + 45, y, steps=5)
    lab.page.mouse.up()


def arrow(lab, control) -> None:
    control.locator(".noUi-handle").focus()
    lab.page.keyboard.press("ArrowLeft")


def write(lab, control) -> None:
    control.locator("input[type=number]").fill("2")
    lab.page.keyboard.press("Enter")


WATCH = """
turned, turn = [], lab.knobs.turn
def watched(**values):
    settings = turn(**values)
    turned.append([lab.runner.steps, values])
    return settings
lab.knobs.turn = watched
"""
"""Notes of each change which step was done when it had been made: the next may be under way with
what was, and the one after that may not."""


@BOTH_KERNELS
def test_a_change_by_mouse_keyboard_and_typing_acts_at_the_next_step(lab):
    lab.do(WATCH)
    started(lab)
    for by in (drag, arrow, write):
        for label, name, unit in (
            ("ε (n/255)", "epsilon", 255),
            ("K, steps ahead", "unroll_steps", 1),
        ):
            control = row(lab, label)
            changes, before = lab.ask(f"[len(turned), round({unit} * lab.knobs().{name})]")
            by(lab, control)
            lab.wait_for(f"len(turned) > {changes}")
            if by is drag:
                lab.page.wait_for_timeout(500)  # it is several changes
            done, values = lab.ask("turned[-1]")
            now = round(unit * values[name])
            assert {drag: now > before, arrow: now == before - 1, write: now == 2}[by]
            lab.wait_for(f"lab.runner.steps >= {done + 2}")
            assert {round(unit * v) for v in records(lab, name)[done + 1 :]} == {now}
            expect(control.locator("input[type=number]")).to_have_value(str(now))

    # Every change has its mark, between the last step with the old value and the first with the
    # new one: in the lab, and in the words of the picture.
    lab.press("Pause")
    lab.wait_for("lab.runner.phase.value == 'paused'")
    wanted = []
    for name, letter, unit in (("epsilon", "ε", 255), ("unroll_steps", "K", 1)):
        seen = [round(unit * v) for v in records(lab, name)]
        for i, (old, new) in enumerate(itertools.pairwise(seen), start=1):
            if new != old:
                wanted.append([i + 0.5, f"{letter} {old} → {new}"])
    assert len(wanted) >= 6
    assert sorted(lab.ask("lab.marks")) == sorted(wanted)
    for where, text in wanted:
        words = f"Changed at step {where + 0.5:.0f}: {text}."
        expect(lab.page.locator(f"img[alt*='{words}']")).to_be_visible()


@pytest.mark.parametrize(
    ("typed", "words"),
    [("50", "must lie between 1 and 12, not 50"), ("2.7", "must be a whole number, not 2.7")],
    ids=("too large", "not whole"),
)
def test_a_bad_value_is_refused_in_words(lab, typed, words):
    typing = lab.page.get_by_role("spinbutton", name="K, steps ahead")
    typing.click()
    typing.press("Control+a")
    typing.press_sequentially(typed)
    typing.press("Enter")
    expect(lab.page.get_by_text(words)).to_be_visible()
    expect(typing).to_have_value("3")
    assert lab.ask("lab.knobs().unroll_steps") == 3


def test_an_error_appears_and_the_panel_works_again_after_reset(lab):
    lab.do(
        "good = lab.runner.make\n"
        "def broken():\n"
        "    for i, item in enumerate(good()):\n"
        "        if i == 3:\n"  # the first one is what is made ready
        "            raise RuntimeError('the dog ate it')\n"
        "        yield item\n"
        "lab.runner.make = broken"
    )
    lab.press("Run")
    expect(told(lab.page, "RuntimeError: the dog ate it")).to_be_visible()
    assert lab.ask("[lab.runner.phase.value, len(lab.records)]") == ["failed", 2]
    lab.do("lab.runner.make = good")
    lab.press("Reset")
    expect(told(lab.page, "the dog ate it")).to_have_count(0)
    started(lab)


@BOTH_KERNELS
def test_running_the_cell_again_leaves_one_thread(lab):
    started(lab)
    lab.do("first = lab")
    lab.run_all()
    lab.wait_for("lab is not first")
    lab.wait_for("first.runner.phase.value == 'stopped'")
    expect(lab.page.get_by_text("ready", exact=True)).to_be_visible()
    started(lab)
    assert lab.ask(THREADS) == 1


@BOTH_KERNELS
def test_reloading_in_mid_run_picks_the_run_up(lab):
    started(lab)
    lab.load()
    lab.page.evaluate(
        """async () => {
            const {content} = window.jupyterapp.shell.currentWidget;
            content.activeCellIndex = content.widgets.length - 1;
            await window.jupyterapp.commands.execute('notebook:insert-cell-below');
            content.activeCell.model.sharedModel.setSource('lab');
            await window.jupyterapp.commands.execute('notebook:run-cell');
        }"""
    )
    count = lab.ask("lab.runner.steps")
    expect(lab.button("Pause", -1)).to_be_enabled()
    lab.wait_for(f"lab.runner.steps > {count}")
    seen = lab.page.locator("img[alt*='After craft step']").last
    before = seen.get_attribute("alt")
    expect(seen).not_to_have_attribute("alt", before, timeout=60_000)
    assert lab.ask(THREADS) == 1
    lab.press("Pause", -1)
    lab.wait_for("lab.runner.phase.value == 'paused'")


def test_two_panels_at_once(notebook):
    cells = [f"one = {SMALL}\none", f"two = {SMALL}\ntwo"]
    book = notebook(["from mpkit.lab import CraftLab", *cells])
    book.settled(panel=1)
    book.press("Run", 0)
    book.press("Run", 1)
    book.wait_for("min(one.runner.steps, two.runner.steps) > 3")
    book.press("Pause", 0)
    book.wait_for("one.runner.phase.value == 'paused'")
    count = book.ask("[one.runner.steps, two.runner.steps]")
    book.wait_for(f"two.runner.steps > {count[1] + 2}")
    assert book.ask("one.runner.steps") == count[0]
    expect(status(book, 0)).to_contain_text(f"paused · craft step {count[0]} ")
    expect(status(book, 1)).to_contain_text("running")


def test_no_flicker(lab):
    started(lab)
    bad = lab.page.evaluate(
        """async () => {
            const result = {frames: 0, without: 0, pictures: new Set()};
            const end = performance.now() + 150000;
            while (result.pictures.size < 12 && performance.now() < end) {
                await new Promise(requestAnimationFrame);
                const image = document.querySelector("img[alt^='Crafting']");
                result.frames += 1;
                if (!image || !image.complete || !image.naturalWidth) result.without += 1;
                else result.pictures.add(image.alt);
            }
            return {...result, pictures: result.pictures.size};
        }"""
    )
    print(json.dumps(bad))
    assert bad["frames"] > 50
    assert bad["pictures"] == 12
    assert bad["without"] == 0


def test_a_target_is_picked_among_thumbnails_by_mouse_and_keyboard(lab):
    """In plain order until clean models have sorted them; then near, middle, far."""
    lab.wait_for("lab.attack.target_index is not None")
    lab.press("The target's picture")
    picture = lab.page.locator("button[title*='far third']").nth(1)
    if (sort := lab.page.get_by_role("button", name="Sort by margin")).count():
        sort.click()
    expect(picture).to_be_visible()
    assert picture.bounding_box()["width"] >= 64
    for row in ("near", "middle", "far"):
        expect(lab.page.get_by_text(f"1, {row}", exact=True)).to_be_visible()
    picture.click()
    number = int(picture.get_attribute("title").split()[2].rstrip(":"))
    lab.wait_for(f"lab.attack.target_index == ({number},)")
    expect(picture).to_have_attribute("aria-pressed", "true")
    near = lab.page.locator("button[title*='near third']").first
    near.focus()
    lab.page.keyboard.press("Enter")
    lab.wait_for(f"lab.attack.target_index != ({number},)")
    expect(picture).to_have_attribute("aria-pressed", "false")
    kept = lab.ask("list(lab.attack.target_index)")
    lab.do("lab.picker.show(lab.attack, lab.scenario)")
    time.sleep(1)  # what is shown is never sent back
    assert lab.ask("list(lab.attack.target_index)") == kept
