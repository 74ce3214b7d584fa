"""Problems small enough for 64-bit numbers, on which chapter 03 checks its gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mpkit.batches import Batches
from mpkit.data import load_dataset
from mpkit.functional import State, logits, stack

POISONS, WANTED = 4, 7


@dataclasses.dataclass(frozen=True)
class Problem:
    """One batch of digits: x (B, 1, H, W), y (B,), its first rows as `poisons`, one `target`."""

    x: Tensor
    y: Tensor
    poisons: Tensor
    target: Tensor

    def margin(self, module: nn.Module) -> Callable[[State, Tensor], Tensor]:
        """L_adv of the target, as the strategies want it; the batch is not looked at."""

        def loss(state: State, x: Tensor) -> Tensor:
            z = logits(module, state, self.target, train=False)[0][0]
            return torch.cat([z[:WANTED], z[WANTED + 1 :]]).amax() - z[WANTED]

        return loss


def picture_problem(
    seed: int, size: int = 8, rows: int = 12, dtype: torch.dtype = torch.float64
) -> Problem:
    """`rows` digits of `size` pixels a side: the first four are 7s, to be poisoned; a 1 is the
    target."""
    train, test = load_dataset("digits", n_train=200, n_test=300, size=size, noise=0.5)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    sevens = [i for i in order.tolist() if train.y[i] == WANTED][:POISONS]
    others = [i for i in order.tolist() if i not in sevens][: rows - POISONS]
    x = train.x[sevens + others].to(dtype)
    target = test.x[test.rows_of(1)[:1]].to(dtype)
    return Problem(x, train.y[sevens + others], x[:POISONS].clone(), target)


def batches_of(problem: Problem, steps: int) -> Batches:
    """The same batch `steps` times, as `mpkit.metagradient` wants it."""
    x = problem.x.expand(steps, *problem.x.shape)
    return Batches(x, problem.y.expand(steps, -1), torch.arange(POISONS))


def toy_models(
    norm: Callable[[int], nn.Module], seed: int, count: int = 3
) -> tuple[nn.Module, State]:
    """A small network with batch norm `norm(channels)`, and `count` models of it (leading M).

    Smooth throughout, so that a central difference never straddles a kink.
    """

    def build() -> nn.Module:
        first = [nn.Conv2d(1, 8, 3, padding=1), norm(8), nn.Tanh(), nn.AvgPool2d(2)]
        second = [nn.Conv2d(8, 8, 3, padding=1), norm(8), nn.Tanh()]
        return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(8 * 16, 10)).double()

    states = []
    for m in range(count):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(100 * seed + m)
            module = build()
            # Fresh norms are all alike; trained ones are not.
            moved = {k: w + 0.1 * torch.randn_like(w) for k, w in module.named_parameters()}
            states.append(State(moved, {}).map(Tensor.detach))
    return module, stack(states)
