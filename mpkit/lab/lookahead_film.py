"""K training steps there and back again, one at a time, on pictures: the film of `LookaheadLab`.

The steps are the engine's own (`mpkit.training.sgd_step`), and so is the way back: the `vjp` of
each takes λ_{k+1} = ∂L_adv/∂w_{k+1} to λ_k and to its batch (see `mpkit.metagradient`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad, vjp

from mpkit.batches import Batches
from mpkit.data import load_dataset
from mpkit.functional import State, init, logits
from mpkit.lab.kit.measure import cost
from mpkit.metagradient import METAGRADIENTS
from mpkit.networks import network
from mpkit.streams import generator
from mpkit.training import sgd_step, unroll

POISONS, ROWS, WARM, WARM_ROWS = 4, 24, 10, 120
"""Of the batch that is met in every step; and how much the network has been trained before."""
TARGET, WANTED = "stop", "give way"
STRATEGIES = ("reverse", "adjoint", "adjoint-lean", "adjoint-flat")
DIRECTIONS = 8
HOW = {"average": "last", "poisoned_steps": "all"}


class Ahead(NamedTuple):
    """After `step` training steps: L_adv, and the probability that the target is called what is
    wanted."""

    step: int
    loss: float
    probability: float


class Home(NamedTuple):
    """The way back through the step from w_k to w_{k+1}, k = `step`: how long λ_{k+1} is, and
    ∂L_adv/∂x of the poisons in that step, (P, C, H, W)."""

    step: int
    length: float
    share: Tensor


class Check(NamedTuple):
    """The slope of L_adv along a direction: by the gradient, and by a central difference."""

    gradient: float
    difference: float


class Cost(NamedTuple):
    """One meta-gradient of so many steps: the median of some times, and the peak of memory."""

    strategy: str
    steps: int
    milliseconds: float
    megabytes: float | None


@dataclasses.dataclass(frozen=True)
class Scene:
    """One batch x (B, C, H, W), y (B,) of which the first rows are the poisons; the target
    (1, C, H, W) and what it is to be called; a network, and the weights where it all begins."""

    x: Tensor
    y: Tensor
    target: Tensor
    wanted: int
    module: nn.Module
    start: State

    @property
    def poisons(self) -> Tensor:
        return self.x[:POISONS]

    def to(self, dtype: torch.dtype) -> Scene:
        """The same in other numbers."""
        as_ = lambda t: t.to(dtype)  # noqa: E731
        other = {"x": as_(self.x), "target": as_(self.target), "start": self.start.map(as_)}
        return dataclasses.replace(self, **other)

    def scores(self, state: State) -> Tensor:
        """Logits (classes,) of the target."""
        return logits(self.module, state, self.target, train=False)[0][0]

    def adversarial_loss(self, state: State, x: Tensor | None = None) -> Tensor:
        """The best other score of the target, minus that of what is wanted: below 0 it is fooled.
        The batch is not looked at."""
        z, wanted = self.scores(state), self.wanted
        return torch.cat([z[:wanted], z[wanted + 1 :]]).amax() - z[wanted]

    def batch(self, poisons: Tensor) -> Tensor:
        """The batch with these poisons in it."""
        return torch.cat([poisons, self.x[len(poisons) :]])

    def loss(self, poisons: Tensor, steps: int, lr: float) -> Tensor:
        """L_adv after so many steps with these poisons."""
        batches = [(self.batch(poisons), self.y)] * steps
        return self.adversarial_loss(unroll(self.module, self.start, batches, lr)[-1])


@lru_cache(maxsize=4)
def make_scene(name: str, seed: int) -> Scene:
    """Road signs, a network of this name that has been trained a little, and everything else by
    the seed, in 64-bit numbers."""
    train, test = load_dataset("signs", n_train=240, n_test=60)
    order = torch.randperm(len(train), generator=generator(seed, "look ahead"))
    wanted = train.classes.index(WANTED)
    is_base = train.y[order] == wanted
    bases, others = order[is_base][:POISONS], order[~is_base]
    rows = torch.cat([bases, others[: ROWS - POISONS]])
    module = network(name, train.shape, len(train.classes))
    state, some = init(module, seed), order[:WARM_ROWS]
    for _ in range(WARM):
        state, _ = sgd_step(module, state, train.x[some], train.y[some], 0.1)
    seen = test.rows_of(test.classes.index(TARGET))
    with torch.no_grad():  # the first that the network calls rightly, or the first
        said = logits(module, state, test.x[seen], train=False)[0].argmax(1)
    right = said == test.classes.index(TARGET)
    target = test.x[seen[int(right.int().argmax())]][None]
    found = Scene(train.x[rows], train.y[rows], target, wanted, module, state.map(Tensor.detach))
    return found.to(torch.float64)


def there_and_back(scene: Scene, steps: int, lr: float) -> Iterator[Ahead | Home]:
    """The film: K steps with the weights, K steps back with the gradient."""

    def step(state: State, poisons: Tensor) -> State:
        return sgd_step(scene.module, state, scene.batch(poisons), scene.y, lr)[0]

    state, pulls = scene.start, []
    yield _seen(scene, 0, state)
    for k in range(1, steps + 1):
        state, pull = vjp(step, state, scene.poisons)
        pulls.append(pull)
        yield _seen(scene, k, state)
    cotangent = grad(scene.adversarial_loss)(state)  # λ_K
    for k in reversed(range(steps)):
        length = sum(float(t.square().sum()) for t in cotangent.params.values()) ** 0.5
        cotangent, share = pulls.pop()(cotangent)  # λ_k, and ∂L/∂x_k
        yield Home(k, length, share)


@torch.no_grad()
def _seen(scene: Scene, k: int, state: State) -> Ahead:
    probability = scene.scores(state).softmax(0)[scene.wanted]
    return Ahead(k, float(scene.adversarial_loss(state)), float(probability))


def checks(
    scene: Scene, gradient: Tensor, steps: int, lr: float, h: float, seed: int
) -> Iterator[Check]:
    """The gradient (P, C, H, W) against central differences of width h, in random directions of
    length one."""
    noise = generator(seed, "directions")
    for _ in range(DIRECTIONS):
        d = torch.randn(gradient.shape, generator=noise, dtype=gradient.dtype)
        d = d / d.norm()
        with torch.no_grad():
            ahead, behind = (scene.loss(scene.poisons + s * h * d, steps, lr) for s in (1, -1))
        yield Check(float((gradient * d).sum()), float(ahead - behind) / (2 * h))


def costs(scene: Scene, steps: int, lr: float) -> Iterator[Cost]:
    """What each strategy takes for 1 … K steps, in the 32-bit numbers of an attack."""
    small = scene.to(torch.float32)
    for k in range(1, steps + 1):
        x, y = (t.expand(k, *t.shape) for t in (small.x, small.y))
        batches, rate = Batches(x, y, torch.arange(POISONS)), torch.tensor(lr)
        given = (small.module, small.adversarial_loss, small.poisons, small.start, batches, rate)
        for name in STRATEGIES:
            yield Cost(name, k, *cost(partial(METAGRADIENTS[name], *given, **HOW)))
