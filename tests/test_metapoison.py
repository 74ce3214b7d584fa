"""Algorithm 1 against a slow one in plain PyTorch; and runs that are repeated, resumed, steered."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from itertools import islice, pairwise

import pytest
import torch
from torch import nn
from torch.func import functional_call

from mpkit.data import Dataset
from mpkit.device import Plan
from mpkit.layers import BatchNorm2d, by_batch
from mpkit.metagradient import METAGRADIENTS
from mpkit.metapoison import craft, crafting, poisons_of
from mpkit.networks import mlp, network
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario, make_scenario
from mpkit.settings import Settings
from mpkit.training import epoch_order, generator, stream

NAMES = ("a", "b", "c")
SMALL = Settings(
    epsilon=0.2, craft_steps=3, models=3, unroll_steps=2, recipe=Recipe(epochs=4, batch=7), seed=2
)
PLANS = pytest.mark.parametrize("plan", [Plan(), Plan(3), Plan(2), Plan(1, 2), Plan(2, 2)], ids=str)
GOALS = {
    "one target": {},
    "three targets": {"target_index": [2, 0, 3]},
    "another class": {"adversarial_class": "c"},
    "self-concealment": {"goal": "self-concealment", "poison_class": None},
    "multi-class": {"goal": "multi-class", "poison_class": None, "adversarial_class": "c"},
}
changed = dataclasses.replace


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_net(channels: int = 1) -> nn.Module:
    return mlp((channels, 8, 8), 3, (16, 12))


def small_bn(evaluation: str = "running") -> nn.Module:
    layers = nn.Conv2d(1, 4, 3, 2, 1), BatchNorm2d(4, evaluation), nn.ReLU(), nn.Flatten()
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers), head=nn.Linear(64, 3)))


def dataset(n: int, seed: int, channels: int = 1) -> Dataset:
    """Three blobs that overlap."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.rand(3, channels, 8, 8, generator=torch.Generator().manual_seed(99))
    y = torch.arange(n) % 3
    x = 0.3 * centres[y] + 0.7 * torch.rand(n, channels, 8, 8, generator=g)
    return Dataset((255 * x).round() / 255, y, NAMES, "blobs")


def setting(channels: int = 1, n: int = 23, **given) -> Scenario:
    given = {"target_class": "a", "poison_class": "b", "budget": 0.22} | given
    return make_scenario(dataset(n, 0, channels), dataset(15, 1, channels), **given)


def precise(scenario: Scenario) -> Scenario:
    """The scenario in float64, where rounding cannot be taken for a mistake, nor hide one."""
    for part in (scenario.train, scenario.validation):
        object.__setattr__(part, "x", part.x.double())
    return changed(scenario, targets=scenario.targets.double())


def run(settings, scenario=None, net=None, plan=None, state=None):
    """The last state, and all records."""
    scenario = scenario or setting()
    net = net or small_net(scenario.train.x.shape[1])
    pairs = list(craft(scenario, net, settings, state, plan))
    return pairs[-1][0], [record for _, record in pairs]


def start(scenario, net, settings):
    return crafting(scenario, net, settings).start(settings)


def tensors(state):
    parts = state.parameters, state.moment1, state.moment2, *state.surrogates
    return [v for part in parts for _, v in sorted(part.items())]


def identical(a, b) -> bool:
    return a.step == b.step and all(map(torch.equal, tensors(a), tensors(b)))


# ── the slow one ────────────────────────────────────────────────────────────────────────────────


class Slow:
    """Algorithm 1 with one module a surrogate, one row at a time, by autograd alone."""

    def __init__(self, scenario: Scenario, net: nn.Module, settings: Settings):
        self.scenario, self.net, self.settings = scenario, net, settings
        self.bases = scenario.bases.tolist()
        self.clean, self.y = scenario.train.x, scenario.train.y
        pictures, s = self.clean[self.bases], settings
        noise = torch.rand(pictures.shape, generator=generator(s.seed, "perturbation"))
        self.delta = nn.Parameter(s.epsilon * (2 * noise - 1).to(pictures))
        self.project()
        self.adam = torch.optim.Adam([self.delta], eps=1e-12)
        self.surrogates = [self.fresh(m, 0) for m in range(s.models)]
        for m in range(s.models):
            for epoch in range(self.age(m, 0)):
                for rows in self.order(m, 0, epoch):
                    self.train(m, self.clean[rows], rows, epoch)

    def age(self, m: int, step: int) -> int:
        return self.total(m, step) % self.settings.recipe.epochs

    def total(self, m: int, step: int) -> int:
        s = self.settings
        return (m * s.recipe.epochs // s.models if s.stagger else 0) + step

    def seed(self, m: int, step: int) -> int:
        return stream(
            self.settings.seed, "surrogate", m, self.total(m, step) // self.settings.recipe.epochs
        )

    def order(self, m: int, step: int, epoch: int) -> list[list[int]]:
        recipe = self.settings.recipe
        return epoch_order(len(self.y), recipe.batch, self.seed(m, step), "epoch", epoch).tolist()

    def fresh(self, m: int, step: int) -> nn.Module:
        torch.manual_seed(self.seed(m, step))
        module = copy.deepcopy(self.net)
        for layer in module.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        return module.to(self.clean.dtype)

    def lr(self, epoch: int) -> float:
        return torch.tensor(self.settings.recipe.lr_at(epoch)).item()

    def train(self, m: int, x, rows: list[int], epoch: int) -> None:
        module = self.surrogates[m].train()
        optimizer = torch.optim.SGD(module.parameters(), lr=self.lr(epoch))
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), self.y[rows]).backward()
        optimizer.step()

    def fill(self, rows: list[int], poisoned: list[int], poisons):
        return torch.stack(
            [poisons[self.bases.index(r)] if r in poisoned else self.clean[r] for r in rows]
        )

    def adversarial(self, module: nn.Module, named: dict, x) -> torch.Tensor:
        """Averaged over the targets, in plain numbers of one target at a time."""
        scenario, s = self.scenario, self.settings
        pictures = scenario.targets
        if by_batch(self.net):
            pictures = torch.cat([x, pictures])
        copies = {k: v.clone() for k, v in named.items()}
        logits = functional_call(module.eval(), copies, (pictures,))[-len(scenario.targets) :]
        each = []
        for z, wanted in zip(logits, scenario.adversarial.tolist(), strict=True):
            others = torch.stack([v for j, v in enumerate(z) if j != wanted])
            hide = scenario.goal == "self-concealment"
            if s.loss == "margin":
                margin = z[wanted] - others.max() if hide else others.max() - z[wanted]
                each.append(torch.maximum(margin, torch.full_like(margin, -s.kappa)))
            else:
                p = z.softmax(0)[wanted]
                each.append(-torch.log(1 - p if hide else p))
        return torch.stack(each).mean()

    def unroll(self, m: int, order, b: int, epoch: int):
        s, module = self.settings, self.surrogates[m]
        leaf = (self.clean[self.bases] + self.delta).detach().requires_grad_()
        held = [r for r in order[b] if r in self.bases]
        params = {k: v.detach().clone().requires_grad_() for k, v in module.named_parameters()}
        buffers = {k: v.clone() for k, v in module.named_buffers()}
        losses = []
        for k in range(s.unroll_steps):
            live = leaf if k == 0 or s.poisoned_steps == "all" else leaf.detach()
            rows, others = order[b], []
            if k > 0:  # B_0's poisons stay; bases that come along with the others are clean
                following = order[(b + k) % len(order)]
                others = sorted(following, key=lambda r: r in self.bases)
                rows, others = held, others[: len(order[b]) - len(held)]
            x, rows = torch.cat([self.fill(rows, held, live), self.clean[others]]), rows + others
            buffers = {name: v.clone() for name, v in buffers.items()}
            logits = functional_call(module.train(), {**params, **buffers}, (x,))
            loss = nn.functional.cross_entropy(logits, self.y[rows])
            slopes = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            lr = self.lr(epoch)
            params = {name: w - lr * g for (name, w), g in zip(params.items(), slopes, strict=True)}
            losses.append(self.adversarial(module, {**params, **buffers}, x))
        found = torch.stack(losses).mean() if s.average == "mean" else losses[-1]
        return torch.autograd.grad(found, leaf)[0], found.item()

    def step(self, c: int) -> list[float]:
        s, total, means = self.settings, torch.zeros_like(self.delta), []
        poisons = (self.clean[self.bases] + self.delta).detach()
        for m in range(s.models):
            age, losses = self.age(m, c), []
            if age == 0 and c > 0:
                self.surrogates[m] = self.fresh(m, c)
            order = self.order(m, c, age)
            for b, rows in enumerate(order):
                if any(r in self.bases for r in rows):
                    slope, loss = self.unroll(m, order, b, age)
                    total, losses = total + slope, [*losses, loss]
                poisoned = self.bases if s.surrogate_data == "poisoned" else []
                self.train(m, self.fill(rows, poisoned, poisons), rows, age)
            means.append(sum(losses) / len(losses))
        rate = s.craft_rate * s.epsilon
        for decay in s.craft_decays:
            rate = rate / 10 if c >= decay else rate
        if s.craft_warmup and c < s.craft_warmup:
            rate *= ((c + 1) / s.craft_warmup) ** 2
        self.adam.param_groups[0]["lr"] = rate
        slope = total.detach() / s.models
        self.delta.grad = slope.sign() if s.signed else slope
        self.adam.step()
        self.project()
        return means

    def project(self) -> None:
        b = self.clean[self.bases]
        with torch.no_grad():
            self.delta.copy_(self.delta.clamp(-self.settings.epsilon, self.settings.epsilon))
            self.delta.copy_((b + self.delta).clamp(0, 1) - b)


def agree(settings: Settings, scenario: Scenario, net: nn.Module, plan: Plan | None = None):
    """Craft to the end both ways and compare everything after every step."""
    slow = Slow(scenario, net, settings)
    first = start(scenario, net, settings).parameters["delta"]
    assert torch.allclose(first, slow.delta, atol=1e-12)
    steps = 0
    for state, record in craft(scenario, net, settings, plan=plan):
        losses = slow.step(steps)
        steps += 1
        assert record.losses == pytest.approx(losses, rel=1e-7, abs=1e-9)
        assert record.loss == pytest.approx(sum(losses) / len(losses), rel=1e-7, abs=1e-9)
        off = (state.parameters["delta"] - slow.delta).abs().max()
        assert off <= 1e-5 * settings.epsilon
        for m, module in enumerate(slow.surrogates):
            named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            for k, v in (state.surrogates.params | state.surrogates.stats).items():
                assert torch.allclose(v[m], named[k], rtol=1e-6, atol=1e-8)
    assert steps == settings.craft_steps
    return (slow.delta - first).abs().max().item()


@PLANS
def test_crafting_equals_the_slow_one(plan):
    moved = agree(SMALL, precise(setting()), small_net(), plan)
    assert moved > 0.2 * SMALL.epsilon


@pytest.mark.parametrize(
    "change",
    [
        {"surrogate_data": "clean"},
        {"average": "last"},
        {"poisoned_steps": "all"},
        {"poisoned_steps": "all", "average": "last", "unroll_steps": 3, "surrogate_data": "clean"},
        {"loss": "cross-entropy"},
        {"kappa": 0.05},
        {"unroll_steps": 1},
        {"unroll_steps": 5},
        {"metagradient": "reverse"},
        {"metagradient": "adjoint-lean"},
        {"compute": "plain"},
        {"signed": True},
        {"craft_warmup": 2},
        {"craft_decays": (1, 2)},
        {"stagger": False},
        {"models": 1},
        {"models": 5, "recipe": Recipe(epochs=3, batch=7)},
        {"recipe": Recipe(epochs=1, batch=7)},
        {"recipe": Recipe(epochs=5, batch=7, warmup=3, decays=(4,))},
        {"recipe": Recipe(epochs=4, batch=1), "craft_steps": 1},
        {"recipe": Recipe(epochs=4, batch=23)},
        {"recipe": Recipe(epochs=4, batch=999), "unroll_steps": 3},
    ],
    ids=str,
)
def test_crafting_equals_the_slow_one_with_every_switch(change):
    agree(changed(SMALL, **change), precise(setting()), small_net(), Plan(2))


@pytest.mark.parametrize("given", GOALS.values(), ids=GOALS)
@pytest.mark.parametrize("loss", ["margin", "cross-entropy"])
def test_crafting_equals_the_slow_one_for_every_goal(given, loss):
    agree(changed(SMALL, loss=loss, craft_steps=2), precise(setting(**given)), small_net(), Plan(3))


@pytest.mark.parametrize(
    "given", [{"n": 24, "budget": 8 / 24}, GOALS["multi-class"] | {"budget": 1}]
)
def test_crafting_equals_the_slow_one_where_a_whole_class_or_everything_is_poisoned(given):
    settings = changed(SMALL, unroll_steps=3, craft_steps=2)
    agree(settings, precise(setting(**given)), small_net(), Plan(2))


@pytest.mark.parametrize("surrogate_data", ["poisoned", "clean"])
@pytest.mark.parametrize("evaluation", ["running", "batch"])
def test_crafting_equals_the_slow_one_with_batch_norm(evaluation, surrogate_data):
    settings = changed(SMALL, surrogate_data=surrogate_data)
    agree(settings, precise(setting()), small_bn(evaluation), Plan(2))


# ── repeated, resumed, split up ─────────────────────────────────────────────────────────────────


@PLANS
def test_same_seed_same_bits(plan):
    one, two = run(SMALL, plan=plan), run(SMALL, plan=plan)
    assert identical(one[0], two[0])
    assert [r.losses for r in one[1]] == [r.losses for r in two[1]]


@pytest.mark.parametrize("net", [small_net, small_bn], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("plan", [Plan(), Plan(3), Plan(1, 2)], ids=str)
def test_traced_and_plain_runs_give_the_same_bits(net, plan):
    traced, told = run(SMALL, net=net(), plan=plan)
    plain, said = run(changed(SMALL, compute="plain"), net=net(), plan=plan)
    assert identical(traced, plain)
    assert [r.losses for r in told] == [r.losses for r in said]


def test_another_seed_other_poisons_and_other_surrogates():
    one, two = run(SMALL)[0], run(changed(SMALL, seed=3))[0]
    assert not any(map(torch.equal, tensors(one), tensors(two)))


@pytest.mark.parametrize(
    "change",
    [{}, {"craft_warmup": 4, "craft_decays": (3,)}, {"perturbation": "both"}, {"stagger": False}],
    ids=str,
)
def test_resumed_in_the_middle_equals_unbroken_bit_for_bit(change):
    """Over more steps than an age, so that surrogates begin again before and after the break."""
    settings = changed(SMALL, craft_steps=5, **change)
    states = [state for state, _ in craft(setting(), small_net(), settings)]
    for middle in states[:-1]:
        resumed, records = run(settings, state=middle)
        assert identical(resumed, states[-1])
        assert [r.step for r in records] == list(range(middle.step + 1, 6))
    assert list(craft(setting(), small_net(), settings, states[-1])) == []


def test_a_state_is_not_changed_by_going_on_from_it():
    (first, _), *_ = pairs = list(craft(setting(), small_net(), SMALL))
    before = [t.clone() for t in tensors(first)]
    run(SMALL, state=first)
    assert all(map(torch.equal, tensors(first), before))
    assert [state.step for state, _ in pairs] == [1, 2, 3]


@pytest.mark.parametrize("net", [small_net(), small_bn()], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("data", ["poisoned", "clean"])
def test_plans_differ_by_rounding_alone(net, data):
    """In float64, on batches that hold different numbers of poisons in each model."""
    scenario = precise(setting())
    settings = changed(SMALL, surrogate_data=data, unroll_steps=3, craft_steps=2)
    one, records = run(settings, scenario, net, Plan(1))
    for plan in (Plan(3), Plan(2), Plan(2, 2)):
        other, told = run(settings, scenario, net, plan)
        for a, b in zip(tensors(one), tensors(other), strict=True):
            assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)
        for a, b in zip(records, told, strict=True):
            assert a.losses == pytest.approx(b.losses, rel=1e-9, abs=1e-9)


def test_gradient_matching_is_the_same_for_every_plan():
    scenario = precise(setting())
    settings = changed(SMALL, metagradient="matching", loss="cross-entropy")
    one, records = run(settings, scenario, plan=Plan(1))
    other, told = run(settings, scenario, plan=Plan(3))
    assert torch.allclose(one.parameters["delta"], other.parameters["delta"], atol=1e-9)
    for a, b in zip(records, told, strict=True):
        assert a.losses == pytest.approx(b.losses, abs=1e-9)
        assert all(0 <= x <= 2 for x in a.losses)


# ── settings that change during a run ───────────────────────────────────────────────────────────


def test_an_epsilon_lowered_or_raised_is_obeyed_at_the_next_step():
    now = [SMALL]
    steps = craft(setting(), small_net(), lambda: now[0])
    state, _ = next(steps)
    assert state.parameters["delta"].abs().max() > 0.15
    now[0] = changed(SMALL, epsilon=0.05)
    state, record = next(steps)
    assert state.parameters["delta"].abs().max() <= 0.05 + 1e-6
    assert record.epsilon == 0.05
    now[0] = changed(SMALL, epsilon=0.5, craft_rate=1.0)
    state, record = next(steps)
    assert state.parameters["delta"].abs().max() > 0.2
    assert record.epsilon == 0.5


def test_an_epsilon_c_lowered_is_obeyed_at_the_next_step():
    now = [changed(SMALL, perturbation="recolor", craft_rate=1.0, epsilon_c=0.2)]
    steps = craft(setting(), small_net(), lambda: now[0])
    state, _ = next(steps)
    assert state.parameters["grid"].abs().max() > 0.1
    now[0] = changed(now[0], epsilon_c=0.03)
    state, record = next(steps)
    assert state.parameters["grid"].abs().max() <= 0.03 + 1e-6
    assert record.epsilon_c == 0.03


@pytest.mark.parametrize(
    "change",
    [{"unroll_steps": 3}, {"average": "last"}, {"surrogate_data": "clean"}, {"signed": True},
     {"loss": "cross-entropy"}, {"metagradient": "matching"}, {"craft_rate": 0.5}],
    ids=str,
)  # fmt: skip
def test_what_changes_during_a_run_counts_from_the_next_step_on(change):
    """Two runs, one of which changes after its first step, equal a run resumed with the change."""
    now, scenario, net = [SMALL], setting(), small_net()
    steps = craft(scenario, net, lambda: now[0])
    first, _ = next(steps)
    now[0] = changed(SMALL, **change)
    second, record = next(steps)
    expected, _ = crafting(scenario, net, now[0]).step(first, now[0])
    unchanged, _ = crafting(scenario, net, SMALL).step(first, SMALL)
    assert identical(second, expected)
    assert not torch.equal(second.parameters["delta"], unchanged.parameters["delta"])
    assert record.unroll_steps == now[0].unroll_steps


def test_a_run_can_be_made_longer_or_shorter():
    now = [changed(SMALL, craft_steps=2)]
    steps = craft(setting(), small_net(), lambda: now[0])
    assert [record.step for _, record in islice(steps, 2)] == [1, 2]
    now[0] = SMALL
    assert next(steps)[1].step == 3
    assert list(steps) == []
    now[0] = SMALL
    steps = craft(setting(), small_net(), lambda: now[0])
    next(steps)
    now[0] = changed(SMALL, craft_steps=1)
    assert list(steps) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"models": 2}, "models"),
        ({"models": 4}, "models"),
        ({"perturbation": "recolor"}, "perturbation"),
        ({"perturbation": "both"}, "perturbation"),
        ({"seed": 9}, "seed"),
        ({"stagger": False}, "stagger"),
        ({"recipe": Recipe(epochs=9, batch=7)}, "recipe"),
        ({"recipe": Recipe(epochs=4, batch=5)}, "recipe"),
        ({"compute": "plain"}, "compute"),
    ],
    ids=str,
)
def test_what_is_fixed_when_a_run_begins_cannot_change(change, name):
    now = [SMALL]
    steps = craft(setting(), small_net(), lambda: now[0])
    next(steps)
    now[0] = changed(SMALL, **change)
    with pytest.raises(ValueError, match=f"^{name} is fixed when a run begins"):
        next(steps)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": 2}, "state has models 3, and this run [24]"),
        ({"models": 4}, "state has models 3, and this run [24]"),
        ({"perturbation": "recolor"}, "state has perturbation by delta, and this run"),
        ({"perturbation": "both"}, "state has perturbation by delta, and this run"),
    ],
    ids=str,
)
def test_a_state_of_other_settings_is_refused(change, words):
    state = start(setting(), small_net(), SMALL)
    with pytest.raises(ValueError, match=words):
        next(craft(setting(), small_net(), changed(SMALL, **change), state))


def test_a_state_of_another_scenario_is_refused():
    state = start(setting(), small_net(), SMALL)
    with pytest.raises(ValueError, match="state has poisons 5, and this run 3"):
        next(craft(setting(budget=0.13), small_net(), SMALL, state))


def test_settings_are_asked_for_once_a_step_and_never_after_closing():
    asked = []

    def now():
        asked.append(len(asked))
        return SMALL

    steps = craft(setting(), small_net(), now)
    assert not asked, "an iterator does nothing before it is asked"
    next(steps)
    assert len(asked) == 1
    next(steps)
    assert len(asked) == 2
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
    assert len(asked) == 2


# ── every switch, every strategy, every goal ────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def usual_poisons():
    return poisons_of(setting(), run(SMALL)[0], SMALL)


@pytest.mark.parametrize(
    "change",
    [
        {"average": "last"}, {"poisoned_steps": "all"}, {"surrogate_data": "clean"},
        {"loss": "cross-entropy"}, {"kappa": 0.0}, {"stagger": False}, {"unroll_steps": 3},
        {"metagradient": "matching"}, {"signed": True}, {"craft_warmup": 3}, {"craft_decays": (1,)},
        {"craft_rate": 0.2}, {"epsilon": 0.1}, {"models": 2}, {"perturbation": "recolor"},
        {"perturbation": "both"}, {"recipe": Recipe(epochs=4, batch=6)},
    ],
    ids=str,
)  # fmt: skip
def test_every_switch_is_live(change, usual_poisons):
    scenario, settings = setting(), changed(SMALL, **change)
    after = poisons_of(scenario, run(settings, scenario)[0], settings)
    assert (usual_poisons.int() - after.int()).abs().max() > 1


def test_switches_that_cannot_matter_do_not():
    one_step = changed(SMALL, unroll_steps=1)
    expected = run(one_step)[0]
    for change in ({"average": "last"}, {"poisoned_steps": "all"}, {"kappa": 50.0}):
        found = run(changed(one_step, **change))[0]
        assert torch.equal(found.parameters["delta"], expected.parameters["delta"])


@pytest.mark.parametrize("evaluation", ["running", "batch"])
@pytest.mark.parametrize("name", METAGRADIENTS)
def test_every_strategy_runs_with_batch_norm(name, evaluation):
    net = network("convnet-bn", (1, 8, 8), 3, evaluation)
    settings = changed(SMALL, metagradient=name, craft_steps=1, models=2)
    scenario = setting()
    state, records = run(settings, scenario, net, Plan(2))
    assert torch.tensor([r.losses for r in records]).isfinite().all()
    first = start(scenario, net, settings).parameters["delta"]
    assert (state.parameters["delta"] - first).abs().max() > 0.1 * settings.epsilon


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("given", GOALS.values(), ids=GOALS)
def test_every_goal_runs_with_every_perturbation(given, perturbation):
    scenario = setting(3, **given)
    settings = changed(SMALL, perturbation=perturbation, craft_steps=2)
    state, records = run(settings, scenario)
    assert torch.tensor([r.losses for r in records]).isfinite().all()
    poisons = poisons_of(scenario, state, settings)
    assert poisons.dtype == torch.uint8
    assert poisons.shape == scenario.base_images.shape
    off = poisons.int() - (255 * scenario.base_images).round().int()
    assert off.abs().max() > 0
    if perturbation == "additive":
        assert off.abs().max() <= 255 * settings.epsilon


@pytest.mark.parametrize("epsilon", [1 / 1000, 1 / 255, 2.6 / 255, 1.0])
def test_epsilons_of_any_size(epsilon):
    scenario, settings = setting(), changed(SMALL, epsilon=epsilon)
    poisons = poisons_of(scenario, run(settings, scenario)[0], settings)
    off = poisons.int() - (255 * scenario.base_images).round().int()
    assert off.abs().max() <= int(255 * epsilon + 1e-6)
    assert off.any() or epsilon < 1 / 255


def test_poisons_obey_an_epsilon_lower_than_the_runs():
    scenario = setting()
    state, _ = run(SMALL, scenario)
    poisons = poisons_of(scenario, state, changed(SMALL, epsilon=0.05))
    off = poisons.int() - (255 * scenario.base_images).round().int()
    assert off.abs().max() == int(255 * 0.05)


# ── the step's length ───────────────────────────────────────────────────────────────────────────


def lengths(settings: Settings) -> list[float]:
    """The longest way of a pixel in each step, in units of the bound; far from all the clamps."""
    scenario, net = precise(setting()), small_net()
    object.__setattr__(scenario.train, "x", 0.4 + 0.2 * scenario.train.x)
    settings = changed(settings, epsilon=0.3)
    begun = start(scenario, net, settings)
    begun = changed(begun, parameters={"delta": begun.parameters["delta"] / 2})
    states = [begun, *(state for state, _ in craft(scenario, net, settings, begun))]
    deltas = [state.parameters["delta"] for state in states]
    return [(b - a).abs().max().item() / 0.3 for a, b in pairwise(deltas)]


def test_the_first_step_is_the_rate_in_units_of_epsilon():
    """Adam's first step is ± its rate in every pixel."""
    assert lengths(changed(SMALL, craft_rate=0.05, craft_steps=1)) == pytest.approx([0.05])
    assert lengths(changed(SMALL, craft_rate=0.2, craft_steps=1)) == pytest.approx([0.2])


def test_warm_up_is_the_square_of_the_share():
    found = lengths(changed(SMALL, craft_rate=0.1, craft_warmup=5, craft_steps=1))
    assert found == pytest.approx([0.1 / 25])
    plain, warm = (
        lengths(changed(SMALL, craft_rate=0.05, craft_steps=3, signed=True, craft_warmup=w))
        for w in (0, 2)
    )
    assert warm[0] == pytest.approx(plain[0] / 4)
    assert warm[2] > warm[0]


def test_decays_divide_the_rate_by_ten_from_their_step_on():
    plain, decayed = (
        lengths(changed(SMALL, craft_rate=0.05, craft_steps=4, signed=True, craft_decays=d))
        for d in ((), (1, 3))
    )
    assert decayed[0] == plain[0] == pytest.approx(0.05)
    assert max(decayed[1:3]) <= 0.005 + 1e-9
    assert decayed[3] <= 0.0005 + 1e-9
    assert min(plain) > 0.02


# ── what is recorded ────────────────────────────────────────────────────────────────────────────


def test_a_record_tells_what_happened():
    scenario, net = setting(), small_net()
    settings = changed(SMALL, craft_steps=6, models=2, unroll_steps=1, epsilon_c=0.01)
    seen = []
    for step, (state, record) in enumerate(craft(scenario, net, settings)):
        assert record.step == state.step == step + 1
        assert record.loss == pytest.approx(sum(record.losses) / 2)
        assert len(record.losses) == 2
        assert (record.epsilon, record.epsilon_c, record.unroll_steps) == (0.2, 0.01, 1)
        moved = state.parameters["delta"].abs().mean().item()
        assert record.perturbation_mean == pytest.approx(moved, rel=1e-5)
        assert 0 < record.seconds < 60
        seen.append(record.ages)
    assert seen == [(0, 2), (1, 3), (2, 0), (3, 1), (0, 2), (1, 3)]


def test_the_first_state_is_noise_and_nothing_is_learnt_yet():
    scenario = setting()
    state = start(scenario, small_net(), SMALL)
    assert state.step == 0
    assert not any(v.any() for v in (*state.moment1.values(), *state.moment2.values()))
    delta = state.parameters["delta"]
    assert 0.19 < delta.abs().max() <= 0.2
    images = scenario.base_images + delta
    assert images.min() >= 0
    assert images.max() <= 1


# ── does it work ────────────────────────────────────────────────────────────────────────────────


EASY = Settings(
    epsilon=0.25, epsilon_c=0.15, craft_steps=10, models=2, unroll_steps=2,
    recipe=Recipe(epochs=5, batch=12),
)  # fmt: skip


def last_loss(settings: Settings, index: int) -> float:
    """L_adv, averaged over the last life of the surrogates."""
    scenario = setting(3, 48, target_index=index, budget=0.25)
    _, records = run(settings, scenario, plan=Plan(2))
    return sum(r.loss for r in records[-5:]) / 5


@pytest.mark.parametrize(
    ("perturbation", "metagradient"),
    [*[(name, "adjoint") for name in PERTURBATIONS], ("additive", "matching")],
)
def test_crafted_poisons_lower_the_loss_and_random_ones_do_not(perturbation, metagradient):
    """The control does all the same, but its poisons hardly move from where they start."""
    settings = changed(EASY, perturbation=perturbation, metagradient=metagradient)
    if metagradient == "matching":
        settings = changed(settings, loss="cross-entropy")
    for index in (0, 1):
        control = last_loss(changed(settings, craft_rate=1e-6), index)
        assert last_loss(settings, index) < control - 0.15
