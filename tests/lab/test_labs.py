"""The other labs, without a browser: what each of them promises."""

from __future__ import annotations

import time

import pytest
import torch

from mpkit.baselines import Collision, collide, proximal
from mpkit.functional import init
from mpkit.lab import (
    CollisionLab,
    CompareLab,
    CraftLab,
    DynamicsLab,
    UnrollLab,
    VictimsLab,
)
from mpkit.lab.kit import pace
from mpkit.lab.kit.codes import attack_code
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Phase
from mpkit.lab.landscape import flatten, landscape, losses_on, plane_through, unflatten
from mpkit.lab.poison_source import rescaled
from mpkit.lab.unroll_toy import make_toy
from mpkit.networks import network
from mpkit.rates import rate
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from mpkit.tracing import same

from .conftest import SMALL


def finished(lab, until, limit: float = 60) -> None:
    lab.transport.buttons["run"].click()
    until(lambda: lab.runner.phase.ended, limit)
    assert lab.runner.error is None, lab.runner.error


GUESSES = {
    CollisionLab: lambda lab: lab.view.guess,
    UnrollLab: lambda lab: lab.view.guess,
    DynamicsLab: lambda lab: lab.view.guess,
    CraftLab: lambda lab: lab.view.losses.guess,
    CompareLab: lambda lab: lab.view.guess,
}


@pytest.mark.parametrize("kind", GUESSES, ids=lambda kind: kind.__name__)
def test_a_guess_comes_before_the_run_and_stays_on_the_plot(kind, small, until):
    given = {"pairs": 1} if kind is CompareLab else {}
    question = Question("When, or how many of 10?", 0, 10, 4)
    lab = small(kind, question=question, **given) if kind is not UnrollLab else kind(question)
    try:
        assert lab.transport.buttons["run"].disabled
        assert list(GUESSES[kind](lab).get_xdata()) == [-1, -1]
        lab._answered(7)
        where = 0.7 if kind is CompareLab else 7
        finished(lab, until)
        for _ in range(2):
            assert list(GUESSES[kind](lab).get_xdata()) == [where] * 2
            assert "The guess was 7." in lab.canvas.widget.value
            lab.transport.buttons["reset"].click()  # lays some pictures out anew
    finally:
        lab.close()


@pytest.mark.parametrize("kind", GUESSES, ids=lambda kind: kind.__name__)
def test_a_skipped_guess_draws_nothing(kind, small, until):
    question = Question("How many?", 0, 10, 4)
    lab = small(kind, question=question) if kind is not UnrollLab else kind(question)
    try:
        lab._answered(None)
        assert not lab.transport.buttons["run"].disabled
        assert list(GUESSES[kind](lab).get_xdata()) == [-1, -1]
        assert "guess" not in lab.canvas.widget.value
    finally:
        lab.close()


# ── the toy of UnrollLab ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_arrows_are_the_gradient(steps):
    toy = make_toy(3)
    double = lambda t: t.double()  # noqa: E731
    toy = type(toy)(
        double(toy.x),
        toy.y,
        double(toy.poisons),
        double(toy.target),
        {k: double(w) for k, w in toy.params.items()},
    )
    slope, path = toy.look_ahead(toy.poisons, steps, 0.5)
    assert len(path) == steps + 1
    for i in range(toy.poisons.numel()):
        h = torch.zeros_like(toy.poisons).flatten()
        h[i] = 1e-6
        ends = [
            toy.adversarial_loss(toy.unroll(toy.poisons + s * h.view(-1, 2), steps, 0.5)[-1])
            for s in (1, -1)
        ]
        assert abs((ends[0] - ends[1]) / 2e-6 - slope.flatten()[i]) < 1e-7


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


def test_every_slider_of_the_toy_redraws_at_once():
    lab = UnrollLab()
    try:
        for name, value in (("unroll_steps", 7), ("lr", 1.0), ("x", -1.0), ("y", 0.5), ("seed", 4)):
            before, picture = lab.describe(), lab.canvas.frames
            lab.controls[name].slider.value = value
            assert lab.canvas.frames == picture + 1
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


# ── DynamicsLab ───────────────────────────────────────────────────────────────────────────────


def test_the_plane_holds_its_three_points():
    g = torch.Generator().manual_seed(0)
    start, a, b = torch.randn(3, 50, generator=g, dtype=torch.float64)
    plane = plane_through(start, a, b)
    assert torch.allclose(plane.basis @ plane.basis.T, torch.eye(2, dtype=torch.float64))
    for point in (start, a, b):
        assert torch.allclose(plane.points(plane.coordinates(point)), point)
    same = plane_through(start, a, a)
    assert torch.allclose(same.points(same.coordinates(a)), a)
    nothing = plane_through(start, start, start)
    assert torch.isfinite(nothing.basis).all()


def test_weights_come_back_from_rows():
    state = init(network("convnet-bn", (1, 8, 8), 2), 1)
    assert same(unflatten(flatten(state), state), state)


@pytest.mark.parametrize("name", ["mlp", "convnet-bn"])
def test_the_landscape_is_the_losses_at_every_point(name):
    net, (x, y) = network(name, (1, 8, 8), 2), (torch.rand(6, 1, 8, 8), torch.arange(6) % 2)
    start, *ends = (init(net, seed) for seed in range(3))
    plane, corners = plane_through(*map(flatten, (start, *ends))), (-1.0, 2.0, -3.0, 1.0)
    losses = losses_on(net, x, y, lambda state, _: state.params["head.bias"].sum())
    xs, ys, *found = landscape(losses, start, plane, corners, size=3)
    assert (xs[0], xs[-1], ys[0], ys[-1]) == corners
    for row, column in ((0, 0), (1, 2), (2, 1)):
        one = unflatten(plane.points(torch.stack([xs[column], ys[row]])), start)
        for grid, wanted in zip(found, losses(one), strict=True):
            assert torch.isclose(grid[row, column], wanted, rtol=1e-4, atol=1e-5)


def test_twins_start_alike_and_without_poison_stay_so(small, until):
    lab = small(DynamicsLab)
    lab.controls["epsilon"].slider.value = 0
    finished(lab, until)
    clean, poisoned = torch.stack(lab.path).unbind(1)
    assert torch.equal(clean, poisoned)
    for r in lab.records[1:]:
        assert r.losses[0] == r.losses[1]
        assert r.epsilon == 0


def test_twins_part_and_the_same_seed_gives_the_same(small, until):
    lab = small(DynamicsLab)
    finished(lab, until)
    clean, poisoned = torch.stack(lab.path).unbind(1)
    assert torch.equal(clean[0], poisoned[0])
    assert not torch.equal(clean[-1], poisoned[-1])
    assert [r.epoch for r in lab.records] == [0, 1, 2, 3]
    assert f"accuracy {lab.records[-1].accuracies[1]:.1%}" in lab.describe()
    first = lab.records[1:]
    lab.transport.buttons["reset"].click()
    finished(lab, until)
    assert lab.records[1:] == first


def test_epsilon_acts_at_the_next_epoch(small, until):
    bases = prepare(make_attack("ci", **SMALL)).scenario.base_images
    poisons = bases.mul(255).round().clamp(0, 229).byte() + 26
    lab = small(DynamicsLab, poisons, victim_epochs=6)
    for _ in range(3):
        count = lab.runner.steps
        lab.transport.buttons["step"].click()
        until(lambda count=count: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)
    lab.controls["epsilon"].slider.value = 10
    finished(lab, until)
    assert [round(255 * r.epsilon) for r in lab.records] == [26, 26, 26, 10, 10, 10, 10]
    assert lab.marks == [(2.5, "ε 26 → 10")]
    lab.transport.buttons["reset"].click()
    assert (lab.epsilon, lab.controls["epsilon"].slider.value) == (None, 26)  # as they were crafted


def test_twins_keep_the_poisons_they_began_with(small, until):
    crafting = small(CraftLab)
    finished(crafting, until)
    lab = small(DynamicsLab, crafting)
    count = lab.runner.steps
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)
    before = crafting.poisons()
    crafting.transport.buttons["reset"].click()
    crafting.controls["epsilon"].slider.value = 3
    finished(crafting, until)
    finished(lab, until)
    assert torch.equal(lab.poisons, before)
    assert not torch.equal(crafting.poisons(), before)


def test_poisons_that_do_not_fit_are_refused(small):
    with pytest.raises(ValueError, match="uint8"):
        small(DynamicsLab, torch.zeros(3, 1, 8, 8))


def test_rescaled_poisons():
    scenario = prepare(make_attack("ci", **SMALL)).scenario
    bases = scenario.base_images
    poisons = (255 * bases).round().clamp(10, 245).byte() + 10
    assert torch.allclose(rescaled(scenario, poisons, 26, 26) * 255, poisons.float(), atol=1e-3)
    assert torch.allclose(rescaled(scenario, poisons, 0, 26), bases, atol=0.5 / 255 + 1e-6)


# ── VictimsLab ────────────────────────────────────────────────────────────────────────────────


def test_victims_arrive_and_are_counted(small, until):
    lab = small(VictimsLab)
    lab.controls["victims"].slider.value = 4
    finished(lab, until)
    assert len(lab.records) == 12
    assert sorted({(r.arm, r.victim) for r in lab.records}) == sorted(
        (arm, v) for arm in ("poisoned", "clean", "noise") for v in range(4)
    )
    wins = sum(r.success[0] for r in lab.records if r.arm == "poisoned")
    found = rate(wins, 4)
    assert f"poisoned: {found}" in lab.describe()
    assert list(lab.spans["poisoned"].get_xdata()) == [found.low, found.high]
    first = lab.records
    lab.transport.buttons["reset"].click()
    finished(lab, until)
    assert lab.records == first


def test_more_victims_can_be_asked_for_in_mid_run(small, until):
    lab = small(VictimsLab)
    finished(lab, until)
    two = lab.records
    lab.transport.buttons["reset"].click()
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    lab.controls["victims"].slider.value = 1
    assert "arrived already" in lab.message.value
    lab.controls["victims"].slider.value = 3
    finished(lab, until)
    assert lab.records[: len(two)] == two
    assert len(lab.records) == 9


def test_poisons_come_from_a_craft_lab(small, until):
    crafting = small(CraftLab)
    lab = small(VictimsLab, crafting)
    finished(crafting, until)
    finished(lab, until)
    assert lab.crafting is None  # nothing was crafted anew
    assert torch.equal(lab._poisons(), crafting.poisons())


# ── CollisionLab ──────────────────────────────────────────────────────────────────────────────


def test_the_proximal_step_has_its_closed_form():
    g = torch.Generator().manual_seed(0)
    x, b = 0.2 + 0.6 * torch.rand(2, 1, 4, 4, generator=g, dtype=torch.float64)
    z = proximal(x, b, 0.7)
    z.requires_grad_()
    value = 0.5 * (z - x).square().sum() + 0.5 * 0.7 * (z - b).square().sum()
    assert torch.autograd.grad(value, z)[0].abs().max() < 1e-12


def test_features_come_closer_and_beta_holds_back(small):
    attack = prepare(make_attack("ci", **SMALL))
    state = init(attack.network, 0)
    base, target = attack.scenario.base_images[0], attack.scenario.targets[0]

    def end(beta):
        *_, (poison, record) = collide(
            attack.network, state, base, target, Collision(beta=beta, steps=40)
        )
        assert 0 <= poison.min() <= poison.max() <= 1
        return record

    free, held = end(0.0), end(1.0)
    start = next(iter(collide(attack.network, state, base, target, Collision())))[1]
    assert free.features < held.features < start.features
    assert held.pixels < free.pixels


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"beta": -1}, "beta"),
        ({"rate": 0}, "rate"),
        ({"steps": 0}, "steps"),
        ({"opacity": 2}, "opacity"),
    ],
)
def test_collisions_that_make_no_sense_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Collision(**values)


def test_a_collision_live(small, until):
    lab = small(CollisionLab)
    lab.controls["steps"].slider.value = 8
    for _ in range(3):
        count = lab.runner.steps
        lab.transport.buttons["step"].click()
        until(lambda count=count: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)
    lab.controls["beta"].slider.value = 1.0
    finished(lab, until)
    assert [r.beta for r in lab.records] == [0.1] * 3 + [1.0] * 6
    assert lab.marks == [(2.5, "β 0.1 → 1")]
    assert f"{lab.records[-1].features:.2f} apart" in lab.describe()
    first = lab.curve()[1][:3]
    lab.transport.buttons["reset"].click()
    finished(lab, until)
    assert lab.curve()[1][:1] == first[:1]


# ── all of them ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [CollisionLab, CraftLab, DynamicsLab, VictimsLab])
def test_large_letters_and_nothing_started(small, kind):
    lab = small(kind, large=True)
    assert lab.canvas.figure.large
    assert lab.runner.phase is Phase.READY
    assert lab.canvas.frames >= 1
    assert "<img alt=" in lab.canvas.widget.value


TURNED = (
    (CollisionLab, {"beta": 0.4, "steps": 9, "seed": 3}),
    (CraftLab, {"epsilon": 20, "unroll_steps": 2, "epsilon_c": 0.1, "models": 3, "seed": 4}),
    (DynamicsLab, {"epsilon": 12, "epochs": 4, "seed": 2}),
    (VictimsLab, {"victims": 3, "share": 50, "epochs": 4, "seed": 5, "batch": 10}),
)


@pytest.mark.parametrize(("kind", "values"), TURNED, ids=lambda v: getattr(v, "name", ""))
def test_a_share_code_gives_the_same_run_and_the_same_sliders(small, until, kind, values):
    one, two = small(kind, perturbation="both"), small(kind)
    for name, value in values.items():
        one.controls[name].box.value = value
    two.use_code(one.code())
    assert two.code() == one.code()
    for name, control in one.controls.items():
        assert two.controls[name].value == control.value, name
    finished(one, until)
    finished(two, until)
    assert one.curve() == two.curve()
    assert one.describe() == two.describe()


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (CollisionLab, {"beta": "much"}),
        (CollisionLab, {"beta": -1}),
        (CollisionLab, {"magic": 1}),
        (DynamicsLab, {"epsilon": 700}),
        (DynamicsLab, {"seed": "x"}),
        (VictimsLab, {"share": 1000}),
        (VictimsLab, {"wanted": 0}),
    ],
)
def test_codes_with_odd_values_change_nothing(small, kind, own):
    lab = small(kind)
    before = lab.code()
    with pytest.raises(ValueError, match=r"beta|settings|ε|seed|share"):
        lab.use_code(attack_code(lab.name, lab.attack, **own))
    assert lab.code() == before


def test_a_lab_with_a_source_takes_no_code(small):
    crafting = small(CraftLab)
    for kind in (DynamicsLab, VictimsLab):
        lab = small(kind, crafting)
        with pytest.raises(ValueError, match="without a source"):
            lab.use_code(small(kind).code())


@pytest.mark.parametrize("kind", [CraftLab, DynamicsLab, VictimsLab])
def test_the_time_of_a_run_is_foretold_by_the_one_before(small, until, kind):
    lab = small(kind)
    assert "here" not in lab.status.value
    began = time.perf_counter()
    finished(lab, until)
    took = time.perf_counter() - began
    lab.transport.buttons["reset"].click()
    foretold = pace.seconds(lab.name, lab.attack, lab.work())
    if kind is CraftLab:  # the others need not craft a second time
        assert 0.2 * took < foretold <= took
    assert "about" in lab.status.value
    assert " here" in lab.status.value


def test_a_run_that_was_changed_foretells_nothing(small, until):
    lab = small(CraftLab)
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    finished(lab, until)
    lab.transport.buttons["reset"].click()
    assert "here" not in lab.status.value


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}'])
def test_a_damaged_file_of_paces_costs_nothing(small, text):
    lab = small(CraftLab)
    pace.file().parent.mkdir(parents=True, exist_ok=True)
    pace.file().write_text(text)
    assert pace.seconds("craft", lab.attack, 1.0) is None
    pace.remember("craft", lab.attack, 2.0, 4.0)
    assert pace.seconds("craft", lab.attack, 3.0) == 6.0


# ── what a hostile hand found ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["$x_$", "$$", "_hidden", "<b>" + 500 * "a"])
def test_a_name_that_is_no_formula_stays_a_name(name, until):
    lab = UnrollLab()
    try:
        lab.moves = 2
        finished(lab, until)
        text, keep = lab.panel.children[-1].children[0].children[:2]
        text.value = name
        frames = lab.canvas.frames
        keep.click()
        assert lab.canvas.frames > frames
        shown = [t.get_text() for t in lab.view.history.get_legend().get_texts()]
        assert any(name[:3] in label.replace("\\$", "$") for label in shown)
        assert all(len(label) < 60 for label in shown)
        lab.transport.buttons["reset"].click()
        finished(lab, until)
    finally:
        lab.close()


def test_twins_follow_a_craft_lab_to_other_classes(small, until):
    craft = small(CraftLab, classes=("1", "7", "3"), target_class="1", poison_class="7")
    finished(craft, until)
    twins = DynamicsLab(craft)
    try:
        craft.transport.buttons["reset"].click()
        craft.later(poison_class="3")
        finished(craft, until)
        finished(twins, until)
        assert "wanted is 3" in twins.describe() or ", 3 " in twins.describe()
        assert {round(255 * r.epsilon) for r in twins.records} == {26}
    finally:
        twins.close()
        twins.runner.close(30)


def test_a_run_that_was_left_takes_no_victims_from_the_next(small, until):
    lab = small(VictimsLab, poisons=None, victims=2)
    old = lab.items()
    next(old)  # it has begun to craft
    lab.clear()
    finished(lab, until)
    begun = lab.begun
    assert lab.arrived == begun == 2
    for _ in old:
        pass
    assert lab.begun == begun


def test_the_line_in_words_keeps_up_with_what_is_asked_for(small, until):
    lab = small(CraftLab)
    lab.controls["craft_steps"].box.value = 5
    assert "of 5" in lab.status.value
    lab.controls["epsilon"].box.value = 20
    assert "epsilon 20/255" in lab.canvas.widget.value
    finished(lab, until)
    lab.controls["epsilon"].box.value = 60
    assert "epsilon 20/255" in lab.describe()
    lab.controls["craft_steps"].box.value = 2
    assert "craft step 5 of 5" in lab.status.value


def test_closing_a_panel_ends_its_victim_as_well(small, until):
    lab = small(CraftLab, victim_epochs=2000)
    finished(lab, until)
    lab.victim.start()
    until(lambda: lab.victim.points)
    lab.close()
    assert lab.victim.runner.close(30)


def test_a_reset_forgets_the_victim(small, until):
    lab = small(CraftLab)
    finished(lab, until)
    lab.victim.start()
    until(lambda: lab.victim.runner.phase.ended)
    until(lambda: lab.victim.words.value)
    lab.transport.buttons["reset"].click()
    assert lab.victim.words.value == ""
    assert "poisons of step" not in lab.victim.axes.get_title(loc="left")


def test_a_code_in_mid_run_holds_what_waits(small, until):
    lab = small(CraftLab)
    finished(lab, until)
    lab.later(models=3)
    other = small(CraftLab)
    other.use_code(lab.code())
    assert other.knobs().models == 3


@pytest.mark.parametrize(
    "value", [{"unroll_steps": 2.5}, {"seed": "a"}, {"seed": -1}, {"seed": 10**30}]
)
def test_a_look_that_makes_no_sense_is_refused(value):
    with pytest.raises(ValueError, match=r"whole|between"):
        UnrollLab(**value)


def test_where_a_poison_went_is_in_its_boxes(until):
    lab = UnrollLab()
    try:
        finished(lab, until)
        for axis, name in enumerate("xy"):
            there = float(lab.poisons[lab.which, axis])
            box = lab.controls[name].box
            until(lambda box=box, there=there: abs(box.value - there) < 0.01)
    finally:
        lab.close()
