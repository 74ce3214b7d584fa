"""VictimsLab: who arrives, what is counted, and what a setting may change."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from mpkit.evaluation import victims as evaluation_module
from mpkit.evaluation.rates import percent, rate
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.victims import victim_seed
from mpkit.functional import init
from mpkit.lab import CraftLab, VictimsLab
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Phase
from mpkit.runs import prepared
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from tests.lab.conftest import SMALL, finished, said

pytestmark = pytest.mark.usefixtures("unpainted")


def reset(lab) -> None:
    lab.transport.buttons["reset"].click()


def step(lab, until) -> None:
    count = lab.runner.steps
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)


def group(lab, until) -> None:
    """Step by step until the next victims are trained."""
    count = len(lab.arrivals)
    while len(lab.arrivals) == count:
        step(lab, until)


@pytest.fixture
def changed():
    """Poisons that fit SMALL: every base with a change of 20 grey levels, up or down."""
    bases = (255 * prepare(make_attack("ci", **SMALL)).scenario.base_images).round()
    return torch.where(bases > 127, bases - 20, bases + 20).to(torch.uint8)


@pytest.fixture
def seen(monkeypatch):
    """What every call of `train` was given: its seeds and the pictures of each model."""
    calls, train = [], evaluation_module.train

    def watched(network, x, y, recipe, seeds, *, plan, own_x, tell):
        calls.append((network, list(seeds), [own_x(m) for m in range(len(seeds))], recipe))
        yield from train(network, x, y, recipe, seeds, plan=plan, own_x=own_x, tell=tell)

    monkeypatch.setattr(evaluation_module, "train", watched)
    return calls


# ── who arrives ───────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_victims_and_another_gives_others(small, until, changed):
    lab = small(VictimsLab, poisons=changed)
    finished(lab, until)
    first = lab.records
    reset(lab)
    assert lab.records == []
    finished(lab, until)
    assert lab.records == first
    reset(lab)
    lab.controls["seed"].slider.value = 7
    finished(lab, until)
    pairs = list(zip(lab.records, first, strict=True))
    assert all(a.adversarial_probability != b.adversarial_probability for a, b in pairs)


def test_twins_start_from_the_same_weights_and_victims_do_not(small, until, changed, seen):
    lab = small(VictimsLab, poisons=changed, victims=3, seed=4)
    finished(lab, until)
    network, *_ = seen[0]
    seeds = []
    for _, group, *_ in seen:  # victim by victim, its twins beside it
        victims = len(group) // len(ARMS)
        seeds += [group[arm * victims + v] for v in range(victims) for arm in range(len(ARMS))]
    assert len(seeds) == 9
    weights = [next(iter(init(network, seed).params.values())) for seed in seeds]
    for v in range(3):
        own = weights[len(ARMS) * v : len(ARMS) * (v + 1)]
        assert all(torch.equal(own[0], w) for w in own)
        assert seeds[len(ARMS) * v] == victim_seed(4, v)
    assert len(set(seeds)) == 3
    assert not torch.equal(weights[0], weights[3])


def test_only_the_bases_differ_between_the_arms(small, until, changed, seen):
    lab = small(VictimsLab, poisons=changed)
    finished(lab, until)
    (_, _, pictures, _) = seen[0]
    poisoned, clean, noise = pictures[:: len(pictures) // len(ARMS)]
    bases = lab.source.scenario.bases
    others = torch.ones(len(clean), dtype=torch.bool)
    others[bases] = False
    assert torch.equal(poisoned[bases] * 255, changed.float())
    for arm in (poisoned, noise):
        assert torch.equal(arm[others], clean[others])
    strength = (255 * (noise - clean)[bases]).abs().max()
    assert 15 < strength <= 20 + 0.51  # as strong as the poisons given, not as the attack's ε


def test_without_any_change_all_twins_are_one(small, until, changed):
    lab = small(VictimsLab, poisons=changed)
    lab.controls["share"].slider.value = 0
    finished(lab, until)
    assert "ε = 0/255" in lab.describe()
    for v in range(2):
        one, *twins = [dataclasses.replace(r, arm="") for r in lab.records if r.victim == v]
        assert twins == [one, one]


@pytest.mark.parametrize("percent", [50, 200])
def test_poisons_are_scaled_about_their_bases(small, until, changed, seen, percent):
    lab = small(VictimsLab, poisons=changed)
    lab.controls["share"].slider.value = percent
    finished(lab, until)
    scenario, found = lab.source.scenario, 255 * seen[0][2][0][lab.source.scenario.bases]
    bases = 255 * scenario.base_images
    exact = (bases + (changed.float() - bases) * percent / 100).clamp(0, 255)
    assert (found - exact).abs().max() <= 0.5 + 1e-3
    assert (found - found.round()).abs().max() < 1e-3
    assert f"ε = {0.2 * percent:g}/255" in lab.describe()


def test_only_bounds_that_act_are_named(small, until):
    lab = small(VictimsLab, perturbation="recolor", epsilon_c=0.08, craft_steps=1)
    lab.controls["share"].slider.value = 50
    finished(lab, until)
    assert "ε_c = 0.04, poisons of" in lab.describe()
    assert lab.view.dots.get_title(loc="left").startswith("2 victims, ε_c = 0.04:")
    assert "ε =" not in lab.describe()


# ── what is counted ───────────────────────────────────────────────────────────────────────────


def test_the_interval_and_the_mean_are_those_of_the_victims_shown(small, until, changed):
    lab = small(VictimsLab, poisons=changed, victims=3)  # odd: the last group is smaller
    finished(lab, until)
    for row, arm in enumerate(ARMS):
        mine = [r for r in lab.records if r.arm == arm]
        wins = sum(r.success[0] for r in mine)
        wilson = binomtest(wins, 3).proportion_ci(method="wilson")
        assert list(lab.spans[arm].get_xdata()) == [wilson.low, wilson.high]
        assert list(lab.spans[arm].get_ydata()) == [row, row]
        assert lab.view.rows[arm].words.get_text() == f"{wins} of 3"
        dots = lab.view.clouds[arm].get_offsets()[:, 0].tolist()
        assert dots == [r.adversarial_probability[0] for r in mine]
        accuracy = sum(r.accuracy for r in mine) / 3
        assert f"{arm}: {wins}/3" in lab.describe()
        assert f"accuracy {accuracy:.1%}" in lab.describe().split(f"{arm}: ")[1]
    poisoned = [r for r in lab.records if r.arm == "poisoned"]
    wanted = int(lab.source.scenario.adversarial[0])
    mean = sum(r.adversarial_probability[0] for r in poisoned) / 3
    assert lab.view.bars.bars[wanted].get_width() == pytest.approx(mean, abs=1e-6)
    name = lab.source.scenario.train.classes[wanted]
    assert f"{name} {percent(mean, 0)}" in lab.describe().split("on average")[1]


def test_the_guess_is_a_line_and_waits_for_an_answer(small, until, changed):
    lab = small(VictimsLab, question=Question("How many of 8?", 0, 8, 4), poisons=changed)
    assert lab.transport.buttons["run"].disabled
    lab._answered(6)
    assert not lab.transport.buttons["run"].disabled
    for _ in range(2):  # it stays after a reset
        assert list(lab.view.line.get_xdata()) == [6 / 8] * 2
        until(lambda: "The guess was 6" in lab.canvas.widget.value)
        finished(lab, until)
        reset(lab)


def test_a_run_before_stays_as_a_mark(small, until, changed):
    lab = small(VictimsLab, poisons=changed)
    finished(lab, until)
    turned = sum(r.success[0] for r in lab.records if r.arm == "poisoned")
    reset(lab)
    assert list(lab.view.kept[0].get_xdata()) == [turned / 2]
    assert lab.view.kept[0].get_label() == f"last run: {turned / 2:.0%} of 2"


# ── more of them ──────────────────────────────────────────────────────────────────────────────


def test_more_in_mid_run_leave_those_who_are_there(small, until, changed):
    lab = small(VictimsLab, poisons=changed, victims=2)
    group(lab, until)
    there = list(lab.arrivals)
    lab.controls["victims"].slider.value = 1
    assert "already" in said(lab)
    assert lab.count == lab.controls["victims"].slider.value == 2
    lab.controls["victims"].slider.value = 5
    assert "step 3 of 9" in lab.status.value  # epochs, three for each group
    group(lab, until)
    lab.controls["victims"].slider.value = 4
    finished(lab, until)
    assert lab.arrivals[0] is there[0]
    assert [r.victim for r in lab.records if r.arm == "clean"] == [0, 1, 2, 3]


def test_victims_under_way_cannot_be_taken_away(small, changed):
    lab = small(VictimsLab, poisons=changed, victims=4)
    assert lab._next() == range(0, 2)
    assert lab._next() == range(2, 4)
    lab.controls["victims"].slider.value = 3
    assert lab.count == 4
    assert len(lab._next()) == 0


# ── as they train ─────────────────────────────────────────────────────────────────────────────


def test_time_goes_epoch_by_epoch_within_a_group(small, until, changed):
    lab = small(VictimsLab, poisons=changed, victims=3)
    finished(lab, until)
    ready = prepare(make_attack("ci", **SMALL | {"victims": 3}))
    seen = []
    list(ready.train(ready.arms(changed, ("clean",)), range(2), watch=seen.append))
    assert [len(said) for said in seen] == [2, 2]
    for step, words in ((1, "epoch 1 of 3"), (2, "epoch 2 of 3"), (3, "2 victims"), (4, "")):
        lab.scrub(step)
        assert lab.step_seen() == (words or "2 victims and epoch 1 of 3")
        hollow = lab.view.training["clean"].get_offsets()[:, 0].tolist()
        if step < 3:
            chances = [r.adversarial_probability[0] for r in seen[step - 1]]
            assert hollow == pytest.approx(chances, abs=1e-6)
            assert len(lab.view.clouds["clean"].get_offsets()) == 0
            assert f"in training: {words}" in lab.describe()
        else:
            assert len(hollow) == (step == 4)
            assert len(lab.view.clouds["clean"].get_offsets()) == 2
            assert "clean: 0/2" in lab.describe() or "clean: 1/2" in lab.describe()
    lab.scrub(10**9)
    assert lab.step_seen() == "3 victims"
    assert not any(len(dots.get_offsets()) for dots in lab.view.training.values())


def test_who_is_stopped_within_a_group_sees_how_far_it_came(small, until, changed):
    lab = small(VictimsLab, poisons=changed)
    step(lab, until)
    lab.transport.buttons["stop"].click()
    until(lambda: lab.runner.phase.ended)
    assert lab.records == []
    assert "epoch 1 of 3" in lab.view.dots.get_title(loc="left")
    reset(lab)
    assert lab.training is None
    assert "epoch" not in lab.view.dots.get_title(loc="left")


# ── where the poisons come from ───────────────────────────────────────────────────────────────


def test_poisons_are_crafted_once_for_all_recipes(small, until, seen):
    lab = small(VictimsLab)
    step(lab, until)
    assert "crafting first: step 1 of 6" in lab.describe()
    assert "step 1 of 9" in lab.status.value
    finished(lab, until)
    poisons = lab.source.poisons()
    settings = {"lr": 0.05, "weight_decay": 0.001, "batch": 30, "epochs": 2}
    for name, value in settings.items():
        lab.controls[name].slider.value = value
    lab.controls["augment"].menu.value = True
    lab.controls["network"].menu.value = "convnet"
    assert "After reset" in said(lab)
    assert lab.attack.victim_recipe.lr != 0.05
    reset(lab)
    finished(lab, until)
    assert lab.crafting is None
    assert lab.source.poisons() is poisons
    network, *_, recipe = seen[-1]
    assert any(isinstance(layer, nn.Conv2d) for layer in network.modules())
    assert {name: getattr(recipe, name) for name in settings} == settings
    assert recipe.augment


def test_the_picture_follows_a_craft_lab_to_another_target(small, until):
    three = {"classes": ("1", "3", "7"), "n_train": 90, "n_test": 90}
    crafting = small(CraftLab, target_class="1", poison_class="7", **three)
    lab = small(VictimsLab, crafting, **three)
    crafting.controls["target_class"]._picked(crafting.scenario.train.classes.index("3"))
    finished(crafting, until)
    finished(lab, until)
    assert "a picture of 3 7" in lab.describe()
    assert torch.equal(lab.source.poisons(), crafting.poisons())
    assert "target: 3" in lab.exhibit.gallery.words["target"]


@pytest.mark.parametrize("spoil", [lambda p: p[1:], lambda p: p.float() / 255])
def test_poisons_that_do_not_fit_are_refused(small, changed, spoil):
    with pytest.raises(ValueError, match="poisons must be uint8"):
        small(VictimsLab, poisons=spoil(changed))


def test_poisons_are_given_once(small, changed):
    with pytest.raises(ValueError, match="not both"):
        small(VictimsLab, changed, poisons=changed)


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
    assert "arrived already" in said(lab)
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
    assert torch.equal(lab.source.poisons(), crafting.poisons())


def test_what_is_taken_out_counts_from_the_next_run_on(small, until, monkeypatch):
    given, real = [], prepared.train_victims
    told = lambda *a, **k: given.append(a) or real(*a, **k)  # noqa: E731
    monkeypatch.setattr(prepared, "train_victims", told)
    lab = small(VictimsLab, victims=1)
    lab.exhibit.pick(2)
    lab.exhibit.toggle()
    finished(lab, until)
    assert "without poison 3" in lab.describe()
    until(lambda: lab.reason in lab.message.value)  # it is told last
    poisoned = given[-1][3]["poisoned"]
    scenario = lab.source.scenario
    row, other = (int(scenario.bases[i]) for i in (2, 1))
    assert torch.equal(poisoned[row], scenario.train.x[row])
    assert not torch.equal(poisoned[other], scenario.train.x[other])
    lab.exhibit.toggle()
    assert "For the next run, after reset" in lab.message.value
    assert "without poison 3" in lab.batch.words  # these were trained so
    reset(lab)
    finished(lab, until)
    assert not torch.equal(given[-1][3]["poisoned"][row], scenario.train.x[row])
    assert "without" not in lab.batch.words


@pytest.mark.parametrize("given", [{"defense": "jpeg"}, {"defense": "loss", "suspected": 0.3}])
def test_victims_defend_themselves_as_the_settings_say(small, until, changed, given):
    lab = small(VictimsLab, poisons=changed, **given | {"victims": 1})
    finished(lab, until)
    assert lab.runner.steps == lab.total() == 9  # arms train one after another
    (records,) = lab.arrivals
    ready = prepare(make_attack("ci", **SMALL | given | {"victims": 1}))
    *_, (_, wanted) = ready.judge(changed)
    assert records[:2] == wanted[:2]  # noise is as strong as these poisons are, and not as ε
