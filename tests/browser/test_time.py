"""Looking back in a real browser: while a run goes on, after it, and at a victim's epochs."""

from __future__ import annotations

import pytest
from server import SMALL, expect, told

FAST = SMALL.replace("craft_steps=400", "craft_steps=12")


def slider(book, which: int = 0):
    return book.page.get_by_role("slider", name="Time: look back at one").nth(which)


def picture(book, words: str):
    return book.page.locator(f"img[alt*='{words}']")


def pull(book, share: float, which: int = 0) -> None:
    """Drag the slider's thumb from where it is to a share of the whole."""
    bar = slider(book, which)
    box = bar.bounding_box()
    now = bar.evaluate("e => (e.value - e.min) / Math.max(1, e.max - e.min)")
    x = lambda at: box["x"] + 9 + at * (box["width"] - 18)  # noqa: E731
    y = box["y"] + box["height"] / 2
    book.page.mouse.move(x(now), y)
    book.page.mouse.down()
    book.page.mouse.move(x(share), y, steps=8)
    book.page.mouse.up()


def settled(book, lab: str = "lab") -> int:
    """The step that is looked at, once it stays."""
    last = None
    while (now := book.ask(f"{lab}.film.at")) != last:
        last = now
        book.page.wait_for_timeout(400)
    return now


def test_back_and_on_while_it_runs_and_live_again(lab):
    lab.press("Run")
    lab.wait_for("lab.bar.last > 6")  # with the picture, which comes a little later
    lab.do("heard = []; lab.bar.on_msg(lambda w, content, b: heard.append(content))")
    pull(lab, 0.4)
    lab.wait_for("not lab.film.live")
    back, count = settled(lab), lab.ask("lab.runner.steps")
    assert 1 <= back < count
    expect(picture(lab, f"After craft step {back} ")).to_be_visible()
    expect(lab.page.get_by_text(f"looking back at craft step {back}", exact=True)).to_be_visible()
    asked = lab.ask("len(heard)")
    assert asked > 0
    lab.wait_for(f"lab.runner.steps > {count + 4}")
    assert lab.ask("[lab.film.at, lab.film.live]") == [back, False]
    assert lab.ask("len(heard)") == asked  # the slider moves to the left, and nobody moved it
    expect(picture(lab, f"After craft step {back} ")).to_be_visible()

    slider(lab).focus()
    lab.page.keyboard.press("ArrowRight")
    expect(picture(lab, f"After craft step {back + 1} ")).to_be_visible()
    lab.page.keyboard.press("ArrowLeft")
    expect(picture(lab, f"After craft step {back} ")).to_be_visible()
    assert lab.ask("lab.film.live") is False

    now = lab.page.get_by_role("button", name="Now: go to the last").first
    now.click()
    lab.wait_for("lab.film.live")
    seen = lab.ask("lab.runner.steps")
    expect(now).to_be_disabled()
    lab.wait_for(f"lab.film.at > {seen + 2}")
    expect(told(lab.page, "looking back at")).to_have_count(0)
    asked = lab.ask("len(heard)")
    lab.page.wait_for_timeout(1500)
    assert lab.ask("len(heard)") == asked  # what it is set to is never sent back
    lab.press("Stop")
    lab.wait_for("lab.runner.phase.ended")
    steps = lab.ask("[r.step for r in lab.records]")
    assert steps == list(range(1, len(steps) + 1))


@pytest.fixture
def done(notebook):
    book = notebook(["from mpkit.lab import CraftLab", f"lab = {FAST}\nlab"])
    book.press("Run")
    book.wait_for("lab.runner.phase.value == 'done'")
    expect(picture(book, "After craft step 12 ")).to_be_visible()
    return book


def test_after_the_end_and_at_the_epochs_of_a_victim(done):
    losses = done.ask("[r.loss for r in lab.records]")
    bar = slider(done)
    expect(bar).to_have_attribute("aria-valuetext", "craft step 12, now")
    bar.focus()
    for key, step in (("Home", 1), ("ArrowRight", 2), ("ArrowRight", 3), ("End", 12), ("Home", 1)):
        done.page.keyboard.press(key)
        expect(picture(done, f"After craft step {step} ")).to_be_visible()
        done.wait_for(f"lab.film.at == {step}")
    expect(bar).to_have_attribute("aria-valuetext", "craft step 1")
    pull(done, 0.5)
    step = settled(done)
    assert 1 < step < 12

    done.press("Train a victim on these poisons now")
    done.wait_for("lab.victim.runner.phase.ended", 60)
    expect(picture(done, f"of craft step {step} of 12: after epoch 4 ")).to_be_visible()
    slider(done, 1).focus()
    for key, epoch in (("ArrowLeft", 3), ("Home", 1), ("ArrowRight", 2), ("End", 4)):
        done.page.keyboard.press(key)
        expect(picture(done, f"of craft step {step} of 12: after epoch {epoch} ")).to_be_visible()
    assert settled(done) == step  # each has its own time
    assert done.ask("[r.loss for r in lab.records]") == losses
    done.press("Reset")
    expect(picture(done, "Nothing has run yet")).to_be_visible()
    expect(bar).to_be_disabled()
