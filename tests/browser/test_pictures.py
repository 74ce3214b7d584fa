"""The pictures of a lab under a student's hands: pressed, enlarged, taken out, and a ghost."""

from __future__ import annotations

import re

from server import expect

SEEN = """canvas => {
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [...data].filter((_, i) => i % 4 === 0);
}"""
"""The red levels of a canvas."""


def some_steps(lab) -> None:
    lab.press("Run")
    lab.wait_for("lab.runner.steps > 2")
    lab.press("Pause")
    lab.wait_for("lab.runner.phase.value == 'paused'")
    drawn(lab)


def drawn(lab) -> None:
    """The page shows the last step: it is drawn a moment after the pause."""
    lab.page.wait_for_function(
        f"""expected => String([...document.querySelectorAll(".mpkit-gallery button")]
            .filter(b => b.ariaLabel.startsWith("poison 2,"))
            .map(b => ({SEEN})(b.querySelector("canvas")))[0]) === String(expected)""",
        arg=lab.ask("lab.poisons()[1, 0].flatten().tolist()"),
    )


def button(lab, name: str):
    return lab.page.locator(".mpkit-gallery").get_by_role("button", name=re.compile(name))


def levels(lab, name: str) -> list[int]:
    return button(lab, name).locator("canvas").evaluate(SEEN)


def test_target_and_poisons_are_large_and_are_the_pictures_of_the_lab(lab):
    some_steps(lab)
    for canvas in lab.page.locator(".mpkit-gallery canvas").all():
        assert canvas.bounding_box()["width"] >= 96
    sides = lab.page.locator(".mpkit-target canvas").bounding_box()
    assert sides["width"] >= 168
    expected = lab.ask("lab.poisons()[1, 0].flatten().tolist()")
    base = lab.ask("(255 * lab.scenario.base_images[1, 0]).round().int().flatten().tolist()")
    assert levels(lab, "^base 2,") == base
    factor = lab.ask("0.5 / lab.used.epsilon")
    change = [
        min(255, max(0, 127.5 + factor * (p - b))) for p, b in zip(expected, base, strict=True)
    ]
    shown = levels(lab, "^change of poison 2,")
    assert max(abs(a - b) for a, b in zip(shown, change, strict=True)) <= 1


def test_a_poison_is_pressed_taken_out_and_the_next_victim_trains_without_its_change(lab):
    some_steps(lab)
    button(lab, "^poison 3,").click()
    expect(button(lab, "^poison 3,")).to_have_attribute("aria-pressed", "true")
    expect(
        lab.page.get_by_role("status").filter(  # they are spoken, too
            has_text=re.compile(r"Without its change L_adv would (rise|fall)")
        )
    ).to_be_visible()
    expect(lab.page.get_by_role("img", name=re.compile("gradient of poison 3"))).to_be_visible()
    lab.page.get_by_role("button", name=re.compile("Take it out")).click()
    out = button(lab, "^poison 3,.*taken out: the base stands in its place")
    expect(out).to_be_visible()
    expect(out).to_contain_text("taken out")
    assert levels(lab, "^poison 3,") == levels(lab, "^base 3,")
    told = "trains, without poison 3, on the base picture instead"
    expect(lab.page.locator(f".mpkit-gallery[aria-label*='{told}']")).to_be_visible()
    expect(lab.page.locator(f"img[alt*='{told}']")).to_be_visible()

    lab.press("Train a victim on these poisons now")
    expect(lab.page.get_by_text("without poison 3: after epoch").first).to_be_visible()
    trained = "lab.victim._run[1][lab.ready.scenario.bases[{}]]"
    bases = "lab.ready.scenario.base_images[{}]"
    assert lab.ask(f"bool(({trained.format(2)} == {bases.format(2)}).all())")
    assert not lab.ask(f"bool(({trained.format(3)} == {bases.format(3)}).all())")
    lab.page.get_by_role("button", name=re.compile("Put it back")).click()
    expect(out).to_have_count(0)
    lab.press("Train a victim on these poisons now")
    lab.wait_for("lab.victim.count == 2 and lab.victim.runner.phase.ended")
    assert not lab.ask(f"bool(({trained.format(2)} == {bases.format(2)}).all())")


def test_all_pictures_are_reached_with_the_keyboard(lab):
    some_steps(lab)
    button(lab, "^base 1,").focus()
    for key, name in (
        ("ArrowRight", "base 2,"), ("ArrowDown", "change of poison 2,"),
        ("ArrowDown", "poison 2,"), ("ArrowLeft", "poison 1,"), ("Home", "base 1,"),
    ):  # fmt: skip
        lab.page.keyboard.press(key)
        expect(button(lab, f"^{name}")).to_be_focused()
    lab.page.keyboard.press("End")
    lab.page.keyboard.press("Enter")
    number = lab.ask("lab.exhibit.gallery.page.stop")
    lab.wait_for(f"lab.exhibit.picked == {number - 1}")
    lab.page.keyboard.press("Space")
    lab.wait_for("lab.exhibit.picked == -1")


def test_a_ghost_of_the_target_lies_over_the_changes(lab):
    some_steps(lab)
    bare = levels(lab, "^change of poison 1,")
    target = lab.page.locator(".mpkit-target canvas").evaluate(SEEN)
    ghost = lab.page.get_by_role("slider", name=re.compile("^ghost of the target"))
    ghost.fill("100")
    assert levels(lab, "^change of poison 1,") == target
    assert levels(lab, "^poison 1,") != target
    ghost.fill("50")
    half = levels(lab, "^change of poison 1,")
    wanted = [(a + b) / 2 for a, b in zip(bare, target, strict=True)]
    assert max(abs(a - b) for a, b in zip(half, wanted, strict=True)) <= 2
    ghost.focus()
    lab.page.keyboard.press("Home")
    assert levels(lab, "^change of poison 1,") == bare


def test_a_press_on_a_picture_chooses_the_target(lab):
    lab.wait_for("lab.attack.target_index is not None")
    before = lab.page.locator(".mpkit-target canvas").evaluate(SEEN)
    lab.press("The target's picture")
    other = lab.page.locator(".mpkit-row button[title*='test picture'][aria-pressed=false]").last
    number = int(re.search(r"test picture (\d+)", other.get_attribute("title")).group(1))
    face = other.locator("canvas").evaluate(SEEN)
    other.click()
    lab.wait_for(f"lab.attack.target_index == ({number},)")
    expect(
        lab.page.locator(f".mpkit-row button[title*='picture {number}'][aria-pressed=true]")
    ).to_be_visible()
    now = lab.page.locator(".mpkit-target canvas").evaluate(SEEN)
    assert now == face
    assert now != before


def test_the_pictures_follow_the_slider_in_time(lab):
    some_steps(lab)
    button(lab, "^poison 1,").click()
    first = lab.ask("lab.film.frames[1].poisons[0, 0].flatten().tolist()")
    lab.page.locator("input[type=range][max]").first.focus()
    lab.page.keyboard.press("Home")
    lab.wait_for("lab.film.at == 1")
    expect(lab.page.locator(".mpkit-caption").get_by_text("poison", exact=True)).to_be_visible()
    assert levels(lab, "^poison 1,") == first
