"""UnrollLab: sliders, arrows, and poisons that are on no grid."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab import UnrollLab
from mpkit.lab.unroll_toy import make_toy
from tests.lab.conftest import Browser, finished, numbers

# ── the toy of UnrollLab ──────────────────────────────────────────────────────────────────────


def test_following_the_arrows_lowers_the_loss_and_stays_within_epsilon(until):
    lab = UnrollLab(epsilon=0.5)
    try:
        finished(lab, until)
        assert lab.records[-1].loss < lab.records[0].loss
        assert (lab.poisons - lab.toy.poisons).abs().max() <= 0.5 + 1e-6
        assert f"{lab.losses[-1]:.2f}" in lab.describe()
        first = lab.curve()
        lab.transport.buttons["reset"].click()
        finished(lab, until)
        assert lab.curve() == first
    finally:
        lab.close()


def test_every_slider_of_the_toy_redraws_at_once(until):
    lab = UnrollLab()
    try:
        for name, value in (("unroll_steps", 7), ("lr", 1.0), ("x", -1.0), ("y", 0.5), ("seed", 4)):
            before, picture = lab.describe(), lab.canvas.frames
            lab.controls[name].slider.value = value
            until(lambda picture=picture: lab.canvas.frames > picture)
            assert lab.describe() != before
        lab.controls["which"].slider.value = 2
        assert lab.controls["x"].slider.value == pytest.approx(float(lab.poisons[1, 0]), abs=0.06)
    finally:
        lab.close()


def test_the_last_run_stays_in_sight_after_a_reset(until):
    lab = UnrollLab()
    try:
        finished(lab, until)
        lab.transport.buttons["reset"].click()
        low, high = lab.view.history.get_ylim()
        (ghost,) = (line for line in lab.view.kept_lines if len(line.get_ydata()))
        assert low < min(ghost.get_ydata()) <= max(ghost.get_ydata()) < high
    finally:
        lab.close()


# ── what a hostile hand found ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "value", [{"unroll_steps": 2.5}, {"seed": "a"}, {"seed": -1}, {"seed": 10**30}]
)
def test_a_look_that_makes_no_sense_is_refused(value):
    with pytest.raises(ValueError, match=r"whole|between"):
        UnrollLab(**value)


def test_who_moves_a_point_of_the_past_is_in_the_present(unroll, until):
    lab = unroll()
    lab.moves = 4
    finished(lab, until)
    now = lab.poisons.clone()
    lab.scrub(1)
    past = lab.shown.poisons
    assert lab.controls["x"].value == round(float(past[0, 0]), 3)
    assert not torch.equal(past, now)
    lab.controls["y"].box.value = float(now[0, 1]) - 0.05
    assert lab.live
    assert lab.bar.live
    assert torch.equal(lab.shown.poisons[1:], now[1:])
    lab.scrub(2)
    lab.controls["unroll_steps"].box.value = 7
    assert lab.live
    assert "K = 7" in lab.describe()
    lab.scrub(2)
    assert "K = 3" in lab.describe()
    assert "2 moves" in lab.describe()


def test_where_a_poison_went_is_in_its_boxes(until):
    lab = UnrollLab()
    try:
        finished(lab, until)
        for axis, name in enumerate("xy"):
            there = float(lab.poisons[lab.which, axis])
            box = lab.controls[name].box
            until(lambda box=box, there=there: box.value == round(there, 3))
    finally:
        lab.close()


# ── UnrollLab: the sliders are shown where the poisons are, which is on no grid ───────────────


def in_boxes(lab, place) -> bool:
    """Whether both boxes show it, to three digits after the point."""
    shown = [lab.controls[name].box.value for name in "xy"]
    return shown == [round(v, 3) for v in place.tolist()]


@pytest.mark.parametrize("seed", range(10))
def test_looking_at_a_poison_does_not_move_it(unroll, seed):
    lab, toy = unroll(seed=seed), make_toy(seed)
    slope, path = toy.look_ahead(toy.poisons, 3, 0.5)
    losses = [float(toy.adversarial_loss(p)) for p in path]
    browser = Browser(*numbers(lab))
    browser.answer()
    for which in (2, 3, 4, 1):
        lab.controls["which"].slider.value = which
        browser.answer()
        assert in_boxes(lab, toy.poisons[which - 1])
        assert torch.equal(lab.poisons, toy.poisons)
        assert (lab.losses, lab.arrows.tolist()) == (losses, (-slope).tolist())


def test_a_run_is_the_same_with_a_browser_and_without(unroll, until):
    curves = []
    for watched in (False, True):
        lab = unroll(lr=0.033)
        browser = Browser(*(numbers(lab) if watched else ()))
        browser.answer()
        for _ in range(2):
            lab.transport.buttons["run"].click()
            until(lambda lab=lab: lab.runner.phase.ended)
            until(lambda lab=lab: in_boxes(lab, lab.poisons[0]))
            browser.answer()
            assert in_boxes(lab, lab.poisons[0])
            curves.append((lab.curve(), lab.poisons.tolist()))
            lab.transport.buttons["reset"].click()
            assert in_boxes(lab, lab.toy.poisons[0])  # not where the run had taken it
            browser.answer()
            assert torch.equal(lab.poisons, lab.toy.poisons)
    assert all(c == curves[0] for c in curves)


def test_a_code_shows_where_its_poisons_are(unroll):
    one, two = unroll(seed=5), unroll()
    browser = Browser(*numbers(two))
    two.controls["x"].box.value = 1.5
    two.use_code(one.code())
    browser.answer()
    assert in_boxes(two, make_toy(5).poisons[0])
    assert torch.equal(two.poisons, make_toy(5).poisons)


def test_a_hand_that_moves_a_poison_still_does(unroll):
    lab = unroll()
    browser = Browser(*numbers(lab))
    browser.answer()
    there = lab.controls["x"].slider.value
    for x in (there + 0.05, there):  # away, and to where the slider had stood
        lab.controls["x"].slider.set_state({"value": x})
        browser.answer()
        assert float(lab.poisons[0, 0]) == pytest.approx(x)
    assert torch.equal(lab.poisons[:, 1], lab.toy.poisons[:, 1])
    assert torch.equal(lab.poisons[1:], lab.toy.poisons[1:])


# ── the ε boxes, and the hand ─────────────────────────────────────────────────────────────────


def drag(lab, which: int, place: list[float] | None = None, held: bool = False) -> None:
    """As a browser tells it."""
    message = {"view": "a", "number": 1, "which": which, "held": held}
    message |= {"place": place} if place else {}
    lab.handles._handle_custom_msg(message, [])


def test_a_point_dragged_beyond_its_box_is_held_at_the_edge_and_stays(unroll):
    lab = unroll(epsilon=0.4)
    before, x, y = lab.canvas.frames, *lab.toy.poisons[2].tolist()
    drag(lab, 2, [x - 2, y + 0.1])
    edge = torch.tensor([x - 0.4, y + 0.1])
    assert torch.allclose(lab.poisons[2], edge)
    assert lab.canvas.frames == before + 1
    assert lab.handles.places[2] == lab.poisons[2].tolist()
    assert (lab.controls["which"].value, lab.controls["x"].value) == (3, round(x - 0.4, 3))
    assert torch.equal(lab.poisons[[0, 1, 3]], lab.toy.poisons[[0, 1, 3]])
    lab.transport.buttons["step"].click()
    lab.runner.wait(10)
    assert (lab.poisons[2] - edge).abs().max() <= 0.08 + 1e-6  # from there


def test_sliders_hold_a_point_within_its_box_as_the_hand_does(unroll):
    lab = unroll(epsilon=0.4)
    x = float(lab.toy.poisons[0, 0])
    lab.controls["x"].box.value = 2.0
    assert float(lab.poisons[0, 0]) == pytest.approx(x + 0.4)
    assert lab.controls["x"].box.value == lab.controls["x"].value == round(x + 0.4, 3)
    assert lab.handles.places[0] == lab.poisons[0].tolist()
    lab.controls["epsilon"].box.value = 0.1  # which takes it along
    assert float(lab.poisons[0, 0]) == pytest.approx(x + 0.1)
    assert lab.controls["x"].value == round(x + 0.1, 3)
    lab.controls["epsilon"].box.value = 1.0
    assert float(lab.poisons[0, 0]) == pytest.approx(x + 0.1)  # and lets it stay


def test_a_point_that_is_only_taken_stays_and_is_in_the_boxes(unroll):
    lab = unroll()
    drag(lab, 3)
    assert torch.equal(lab.poisons, lab.toy.poisons)
    assert lab.controls["which"].value == 4
    assert in_boxes(lab, lab.poisons[3])


def test_no_step_moves_the_point_that_is_in_the_hand(unroll):
    lab = unroll()
    x, y = lab.toy.poisons[1].tolist()
    drag(lab, 1, [x + 0.2, y - 0.3], held=True)
    there = lab.poisons.clone()
    lab.transport.buttons["step"].click()
    lab.runner.wait(10)
    moved = (lab.poisons - there).norm(dim=1)
    assert moved[1] == 0
    assert (moved[[0, 2, 3]] > 0).all()
    drag(lab, 1)  # released
    lab.transport.buttons["step"].click()
    lab.runner.wait(10)
    assert not torch.equal(lab.poisons[1], there[1])
    drag(lab, 1, held=True)
    lab.transport.buttons["reset"].click()  # no hand holds what begins anew
    lab.transport.buttons["step"].click()
    lab.runner.wait(10)
    assert not torch.equal(lab.poisons[1], lab.toy.poisons[1])


def test_handles_follow_the_points_through_a_run_and_a_reset(unroll, until):
    lab = unroll()
    finished(lab, until)
    until(lambda: lab.handles.places == lab.poisons.tolist())
    lab.transport.buttons["reset"].click()
    until(lambda: lab.handles.places == lab.toy.poisons.tolist())
    lab.controls["seed"].box.value = 5
    until(lambda: lab.handles.places == make_toy(5).poisons.tolist())
