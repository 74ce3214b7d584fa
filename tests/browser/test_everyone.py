"""Every lab for everybody: by name, by ear, by keyboard, on a dark page.

One page has all panels, as opening one costs more than all that is looked at here.
"""

from __future__ import annotations

import re
import time

import pytest
from server import SCENE, expect, serious

from mpkit.lab import __all__ as offered

LABS = [name for name in offered if name.endswith("Lab")]
MAKE = f"""
import mpkit.lab
from mpkit.lab.kit.front import canvases_in

labs = {{}}
for name in {LABS}:
    kind = getattr(mpkit.lab, name)
    try:
        labs[name] = kind({SCENE}, craft_steps=2)
    except TypeError:  # it stands on no attack
        labs[name] = kind()
"""
CONTROLS = "button, input, select, textarea, [role=slider]"
HEAR = """(panel) => {
    const region = panel.querySelector('.mpkit-spoken');
    window.heard = [];
    window.hearing?.disconnect();
    window.hearing = new MutationObserver(() => window.heard.push(region.textContent));
    window.hearing.observe(region, {childList: true});
}"""
"""Notes all that a screen reader is given to say."""


@pytest.fixture(scope="module")
def book(one_desk):
    cells = [MAKE, "for lab in labs.values():\n    display(lab)"]
    book = one_desk.open("everyone.ipynb", cells)
    book.run_all()
    page = book.page
    expect(page.locator(".mpkit-lab .mpkit-spoken")).to_have_count(len(LABS), timeout=120_000)
    for fold in page.locator(".mpkit-opener").all():
        fold.click()
    page.wait_for_timeout(1000)
    yield book
    one_desk.clear()


def panel(book, name: str):
    return book.page.locator(f".mpkit-lab[aria-label={name}]")


def test_axe_finds_nothing_serious_in_any_panel(book):
    assert not serious(book.page, ".mpkit-lab")


@pytest.mark.parametrize("name", LABS)
def test_every_control_has_a_name_of_its_own(book, name):
    names = panel(book, name).evaluate(
        """(panel, controls) => [...panel.querySelectorAll(controls)]
            .filter(e => e.getClientRects().length)
            .map(e => [e.getAttribute('role') || e.tagName,
                (e.getAttribute('aria-label') || (e.labels?.[0] || e).textContent).trim()])""",
        CONTROLS,
    )
    assert names
    assert not [kind for kind, said in names if said in ("", "null", "None")]
    twice = [each for each in names if names.count(each) > 1]
    assert not twice
    labels = book.ask(
        f"[c.label for c in labs[{name!r}].controls.values() if hasattr(c, 'slider')"
        " and c.widget.layout.display != 'none']"
        f" if hasattr(labs[{name!r}], 'controls') else []"
    )
    for label in labels:
        expect(panel(book, name).get_by_role("slider", name=label, exact=True)).to_have_count(1)
        expect(panel(book, name).get_by_role("spinbutton", name=label, exact=True)).to_have_count(1)


def test_what_is_refused_is_spoken_and_every_time(book):
    shown = panel(book, "UnrollLab")
    shown.evaluate(HEAR)
    spoken = "n => window.heard.filter((said) => said.includes('not 50')).length >= n"
    for count in (1, 2):
        typing = shown.get_by_role("spinbutton", name="K, steps ahead")
        typing.fill("50")
        typing.press("Enter")
        book.page.wait_for_function(spoken, arg=count)
        book.page.wait_for_timeout(2000)
    heard = book.page.evaluate("window.heard")
    assert len([said for said in heard if "not 50" in said]) == 2


def test_a_run_is_spoken_but_not_five_times_a_second(book):
    shown = panel(book, "UnrollLab")
    book.do("labs['UnrollLab'].moves = 5000")
    shown.evaluate(HEAR)
    began = time.monotonic()
    shown.get_by_role("button", name=re.compile(r"Run$")).click()
    book.wait_for("labs['UnrollLab'].runner.steps > 2")
    book.page.wait_for_timeout(4000)
    shown.get_by_role("button", name="Stop").click()
    book.wait_for("labs['UnrollLab'].runner.phase.ended")
    book.page.wait_for_function("window.heard.at(-1)?.includes('stopped')")
    book.page.wait_for_timeout(2500)
    heard = book.page.evaluate("window.heard")
    assert any("running" in said for said in heard)
    assert "stopped" in heard[-1]
    assert book.ask("labs['UnrollLab'].describe()") in heard[-1]
    assert len(heard) <= 4 + (time.monotonic() - began) / 10


def test_the_keyboard_keeps_its_place(book):
    page, shown = book.page, panel(book, "UnrollLab")
    book.do("labs['UnrollLab'].transport.buttons['reset'].click()")
    step = shown.get_by_role("button", name="Step")
    expect(step).to_be_enabled()
    step.focus()
    for count in (1, 2):
        page.keyboard.press("Enter" if count == 1 else "Space")
        book.wait_for(f"labs['UnrollLab'].runner.steps == {count}")
        expect(step).to_be_focused()  # it was disabled meanwhile
    run = shown.get_by_role("button", name=re.compile(r"Run$"))
    run.focus()
    page.keyboard.press("Enter")
    expect(run).to_be_disabled()
    page.wait_for_timeout(500)
    page.keyboard.press("Tab")
    expect(shown.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Space")
    book.wait_for("labs['UnrollLab'].runner.phase.value == 'paused'")


def test_figures_follow_the_theme(book):
    canvases = "[c.figure.canvas.dark for lab in labs.values() for c in canvases_in(lab.panel)]"
    assert not any(book.ask(canvases))
    book.command("apputils:change-theme", {"theme": "JupyterLab Dark"})
    try:
        book.wait_for(f"all({canvases})", 60)
        book.page.wait_for_timeout(1000)
        assert not serious(book.page, ".mpkit-lab")
        look = "all => all.map(each => getComputedStyle(each).backgroundImage)"
        arrows = book.page.locator(".mpkit-lab select").evaluate_all(look)
        assert arrows
        assert all("221, 221, 221" in arrow for arrow in arrows)  # light ones
    finally:
        book.command("apputils:change-theme", {"theme": "JupyterLab Light"})
    book.wait_for(f"not any({canvases})", 60)
