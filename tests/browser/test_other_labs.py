"""The other labs in a real JupyterLab: run, change something in mid-run, pause, step, reset."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

import pytest
from server import SCENE, SMALL, Notebook, expect, told


class Case(NamedTuple):
    """`make` makes the lab, `begun` is true once a few items are there. In mid-run `value` is typed
    into `label`'s box: `record` lists what each record ran with (in the same unit), and `mark` is
    in the words of the lab's marks; without a record, `after` is true when it has taken effect."""

    make: str
    begun: str
    label: str
    value: str
    record: str = ""
    mark: str = ""
    after: str = ""


CASES = {
    "CollisionLab": Case(
        f"lab = CollisionLab({SCENE})\nlab.knobs.turn(steps=300)",
        "len(lab.records) > 5", "β, pull to base", "1.5", "[r.beta for r in lab.records]",
        "β 0.1 → 1.5",
    ),
    "UnrollLab": Case(
        "lab = UnrollLab()\nlab.moves = 3000",
        "len(lab.records) > 5", "K, steps ahead", "7", "[r.unroll_steps for r in lab.records]",
        "K 3 → 7",
    ),
    "DynamicsLab": Case(
        f"given = dict({SCENE}) | {{'craft_steps': 3, 'victim_epochs': 400}}\n"
        "lab = DynamicsLab(**given)",
        "len(lab.records) > 3", "ε (n/255)", "4",
        "[round(255 * r.epsilon) for r in lab.records]", "→ 4",
    ),
    "VictimsLab": Case(
        f"given = dict({SCENE}) | {{'craft_steps': 3, 'victims': 40, 'victim_epochs': 20}}\n"
        "lab = VictimsLab(**given)",
        "len(lab.arrivals) > 1", "victims", "50", after="lab.count == 50",
    ),
}  # fmt: skip


@pytest.fixture
def opened(notebook):
    """``opened(name, make)``: a notebook with that lab, nothing started."""

    def opened(name: str, make: str) -> Notebook:
        book = notebook([f"from mpkit.lab import {name}", f"{make}\nlab"])
        book.settled()
        return book

    return opened


def picture(book):
    """The lab's picture, of which the alt text is the words."""
    return book.page.locator("img[alt][style*='max-width']").first


@pytest.mark.parametrize("name", CASES)
def test_a_lab_runs_changes_rests_and_starts_over(opened, name):
    case = CASES[name]
    book = opened(name, case.make)
    time.sleep(0.5)
    assert book.ask("[lab.runner.steps, lab.runner.phase.value]") == [0, "ready"]
    before = picture(book).get_attribute("alt")
    book.press("Run")
    book.wait_for(case.begun, 60)
    expect(picture(book)).not_to_have_attribute("alt", before)
    change(book, case)
    rest(book)
    start_over(book)


def change(book, case: Case) -> None:
    """Type a value in mid-run: it acts from the next step on, with a mark."""
    control = book.page.locator(
        ".widget-hbox", has=book.page.get_by_text(case.label, exact=True)
    ).last
    control.locator("input[type=number]").fill(case.value)
    book.page.keyboard.press("Enter")
    if case.after:
        book.wait_for(case.after)
        return
    wanted = float(case.value)
    book.wait_for(f"({case.record})[-1] == {wanted}")
    seen = book.ask(case.record)
    first = seen.index(wanted)
    assert first > 0
    assert set(seen[first:]) == {wanted}  # and it stays
    assert book.wait_for(f"[x for x, text in lab.marks if {case.mark!r} in text]")


def rest(book) -> None:
    """Pause holds the count still; one step is one step."""
    book.press("Pause")
    book.wait_for("lab.runner.phase.value == 'paused'")
    count = book.ask("lab.runner.steps")
    time.sleep(1)
    assert book.ask("[lab.runner.steps, lab.runner.phase.value]") == [count, "paused"]
    book.press("Step")
    book.wait_for(f"lab.runner.steps == {count + 1} and lab.runner.phase.value == 'paused'")


def start_over(book) -> None:
    """Stop, reset, and the same seed gives the same curve."""
    stop_and_reset(book, "")
    for k in range(2):
        book.press("Run")
        book.wait_for("len(lab.curve()[0]) > 2", 60)
        stop_and_reset(book, f"curve{k} = lab.curve()[1]")
    common = book.ask("min(len(curve0), len(curve1))")
    assert common > 2
    assert book.ask(f"curve0[:{common}] == curve1[:{common}]")


def stop_and_reset(book, kept: str) -> None:
    """In between it keeps what is asked for. `ready` is said a moment before the curve is gone."""
    book.press("Stop")
    book.wait_for("lab.runner.phase.value == 'stopped'")
    book.do(kept)
    book.press("Reset")
    book.wait_for("lab.runner.phase.value == 'ready' and not lab.curve()[0]")


def test_compare_lab_counts_and_says_so(opened):
    make = f"lab = CompareLab({{'K = 1': {{'unroll_steps': 1}}, 'K = 2': {{}}}}, pairs=1, {SCENE})"
    book = opened("CompareLab", make)
    assert book.ask("[lab.runner.steps, lab.runner.phase.value]") == [0, "ready"]
    book.press("Run")
    book.wait_for("lab.runner.phase.value == 'done'", 120)
    rates = book.ask("[[r.rate.successes, r.rate.n] for r in lab.rows()]")
    assert [n for _, n in rates] == [2, 2]
    for successes, n in rates:
        expect(picture(book)).to_have_attribute("alt", re.compile(f"{successes}/{n}"))
    book.page.get_by_role("button", name="Settings for the next run").focus()
    book.page.keyboard.press("Enter")
    book.page.get_by_role("spinbutton", name="victims a target").fill("3")
    book.page.keyboard.press("Enter")
    expect(told(book.page, "After reset (↺).")).to_be_visible()


def test_defense_lab_shows_what_a_filter_throws_away(opened):
    make = f"lab = DefenseLab(defenses=('none', 'loss'), suspected=0.2, {SCENE})"
    book = opened("DefenseLab", make)
    page = book.page
    book.press("Run")
    book.wait_for("lab.runner.phase.value == 'done'", 120)
    count, poisons = book.ask("[len(lab.thrown.row.framed), sum(lab.thrown.row.framed)]")
    assert count > poisons
    for name, wanted in (("a poison", poisons), ("an innocent picture", count - poisons)):
        named = page.get_by_role("img", name=re.compile(f"{name}, labelled"))
        expect(named).to_have_count(wanted)
    expect(page.locator(".mpkit-framed")).to_have_count(poisons)
    expect(picture(book)).to_have_attribute("alt", re.compile("caught .* innocents"))
    page.get_by_role("combobox", name="thrown away by").select_option("none")
    expect(told(page, "Without a defense nothing is thrown away.")).to_be_visible()


def test_a_victim_trains_beside_the_crafting(opened):
    book = opened("CraftLab", f"lab = {SMALL}")
    book.press("Train a victim on these poisons now")
    expect(told(book.page, "There are no poisons yet")).to_be_visible()
    book.press("Run")
    book.wait_for("lab.runner.steps > 2")
    book.press("Train a victim on these poisons now")
    count = book.ask("lab.runner.steps")
    expect(told(book.page, "A victim trained on the poisons of craft step")).to_be_visible()
    assert book.ask("len(lab.victim.points) == lab.attack.victim_recipe.epochs")
    book.wait_for(f"lab.runner.steps > {count}")  # and the crafting went on
    assert book.ask("lab.runner.phase.value") == "running"


def test_a_lab_that_lost_its_kernel_says_so(opened):
    book = opened("UnrollLab", "lab = UnrollLab()")
    words = "e => getComputedStyle(e, '::before').content"
    panel = book.page.locator(".mpkit-lab")
    assert "kernel" not in panel.evaluate(words)
    book.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    book.page.locator(".mpkit-lab.jupyter-widgets-disconnected").wait_for()
    assert "lost its kernel" in panel.evaluate(words)
    buttons = book.page.locator(".mpkit-lab > .widget-hbox").first
    assert buttons.evaluate("e => getComputedStyle(e).pointerEvents") == "none"
    assert float(buttons.evaluate("e => getComputedStyle(e).opacity")) < 0.6
