"""The lab in a real browser, with both generations of kernels: what a student's hands do."""

from __future__ import annotations

import json
import time

from conftest import SMALL
from playwright.sync_api import expect
from server import Notebook

THREADS = "sum(t.name == 'mpkit lab' for t in __import__('threading').enumerate())"


def started(lab) -> None:
    lab.press("Run")
    lab.wait_for("lab.runner.steps > 2")


def row(lab, label: str):
    """The control with this label."""
    return lab.page.locator(".widget-hbox", has=lab.page.get_by_text(label, exact=True)).last


def records(lab, name: str) -> list:
    return lab.ask(f"[r.{name} for r in lab.records]")


def test_run_all_leaves_the_panel_ready_and_not_started(lab):
    major = 6 if "ipykernel6" in lab.name else 7
    assert lab.ask("__import__('ipykernel').version_info[0]") == major
    expect(lab.page.get_by_text("ready", exact=True)).to_be_visible()
    expect(lab.button("Pause")).to_be_disabled()
    time.sleep(1)
    assert lab.ask("[lab.runner.steps, lab.runner.phase.value]") == [0, "ready"]
    assert lab.ask(THREADS) == 0
    assert lab.page.locator("img[alt*='Nothing has run yet']").count() == 1


def test_run_pause_step_stop_reset(lab):
    started(lab)
    expect(lab.page.get_by_text("running", exact=False).first).to_be_visible()
    lab.press("Pause")
    lab.wait_for("lab.runner.phase.value == 'paused'")
    count = lab.ask("lab.runner.steps")
    time.sleep(3)
    assert lab.ask("[lab.runner.steps, lab.runner.phase.value]") == [count, "paused"]
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


def test_a_change_by_mouse_keyboard_and_typing_lands_at_the_next_step(lab):
    started(lab)
    typing = row(lab, "ε (n/255)").locator("input[type=number]")
    typing.fill("12")
    typing.press("Enter")
    lab.wait_for("round(255 * lab.records[-1].epsilon) == 12")
    assert lab.ask("lab.marks[-1][1]") == "ε 26 → 12"

    handle = row(lab, "K, steps ahead").locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
    lab.wait_for("lab.records[-1].unroll_steps == 4")
    assert lab.ask("lab.marks[-1][1]") == "K 3 → 4"

    handle = row(lab, "ε (n/255)").locator(".noUi-handle")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    lab.page.mouse.move(x, y)
    lab.page.mouse.down()
    lab.page.mouse.move(x + 50, y, steps=5)
    lab.page.mouse.up()
    lab.wait_for("round(255 * lab.records[-1].epsilon) > 12")
    lab.press("Pause")
    lab.wait_for("lab.runner.phase.value == 'paused'")
    # The record of the step after a change is the first with the new value, and bears the mark.
    epsilons = [round(255 * e) for e in records(lab, "epsilon")]
    marks = [m for m in lab.ask("lab.marks") if m[1].startswith("ε")]
    changed = [i for i in range(1, len(epsilons)) if epsilons[i] != epsilons[i - 1]]
    assert [m[0] for m in marks] == [i + 0.5 for i in changed]
    expect(lab.page.locator("img[alt*='ε 26 → 12']")).to_be_visible()


def test_a_bad_value_is_refused_in_words(lab):
    typing = row(lab, "K, steps ahead").locator("input[type=number]")
    typing.fill("50")
    typing.press("Enter")
    expect(lab.page.get_by_text("must lie between 1 and 8, not 50")).to_be_visible()
    expect(typing).to_have_value("3")
    assert lab.ask("lab.knobs().unroll_steps") == 3


def test_an_error_appears_and_the_panel_works_again_after_reset(lab):
    lab.do(
        "good = lab.runner.make\n"
        "def broken():\n"
        "    for i, item in enumerate(good()):\n"
        "        if i == 2:\n"
        "            raise RuntimeError('the dog ate it')\n"
        "        yield item\n"
        "lab.runner.make = broken"
    )
    lab.press("Run")
    expect(lab.page.get_by_text("RuntimeError: the dog ate it")).to_be_visible()
    assert lab.ask("[lab.runner.phase.value, len(lab.records)]") == ["failed", 2]
    lab.do("lab.runner.make = good")
    lab.press("Reset")
    expect(lab.page.get_by_text("the dog ate it")).to_have_count(0)
    started(lab)


def test_running_the_cell_again_leaves_one_thread(lab):
    started(lab)
    lab.do("first = lab")
    lab.command("notebook:move-cursor-up")
    lab.run_all()
    lab.wait_for("lab is not first")
    lab.wait_for("first.runner.phase.value == 'stopped'")
    expect(lab.page.get_by_text("ready", exact=True)).to_be_visible()
    started(lab)
    assert lab.ask(THREADS) == 1


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
    expect(seen).not_to_have_attribute("alt", before, timeout=30_000)
    assert lab.ask(THREADS) == 1
    lab.press("Pause", -1)
    lab.wait_for("lab.runner.phase.value == 'paused'")


def test_two_panels_at_once(page, jupyter):
    cells = ["from mpkit.lab import CraftLab", f"one = {SMALL}\none", f"two = {SMALL}\ntwo"]
    book = Notebook.open(page, jupyter, "two.ipynb", cells)
    book.run_all()
    book.button("Run", 1).wait_for()
    book.press("Run", 0)
    book.press("Run", 1)
    book.wait_for("min(one.runner.steps, two.runner.steps) > 3")
    book.press("Pause", 0)
    book.wait_for("one.runner.phase.value == 'paused'")
    count = book.ask("[one.runner.steps, two.runner.steps]")
    book.wait_for(f"two.runner.steps > {count[1] + 2}")
    assert book.ask("one.runner.steps") == count[0]
    book.shut_down()


def test_no_flicker(lab):
    started(lab)
    bad = lab.page.evaluate(
        """async () => {
            const result = {frames: 0, without: 0, pictures: new Set()};
            const end = performance.now() + 10000;
            while (performance.now() < end) {
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
    assert bad["pictures"] > 2
    assert bad["without"] == 0
