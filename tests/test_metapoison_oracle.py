"""Algorithm 1 against a slow one in plain PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from mpkit.device import Plan
from mpkit.layers import by_batch
from mpkit.metapoison import craft
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario
from mpkit.settings import Settings
from mpkit.streams import epoch_order, generator, stream
from tests.blobs import GOALS, PLANS, SMALL, changed, precise, setting, small_bn, small_net, start


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
        {"metagradient": "adjoint-flat", "unroll_steps": 4},
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
