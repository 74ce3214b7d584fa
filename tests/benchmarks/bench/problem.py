"""One piece of work that every contender does: M unrolls of K steps, and a target to hit.

Random pictures, labels and fresh weights: what is timed does not depend on them. As in the
library's defaults, pixels count as variables in the first step only, L_adv is the margin of one
target averaged over w_1 … w_K, and batch norm evaluates the target by its running statistics,
which are part of the state that is differentiated through.
"""

from __future__ import annotations

import dataclasses

import torch
from bench.modules import conventional
from torch import Tensor, nn

from mpkit.batches import Batches
from mpkit.functional import State, init, own, stack
from mpkit.networks import network

SIZES = {
    "convnet": ((3, 32, 32), 125, 13),
    "convnet-bn": ((3, 32, 32), 125, 13),
    "mlp": ((1, 28, 28), 50, 5),
}
"""Network → (C, H, W) of its pictures, rows in a batch, and how many of them are poisons."""

CLASSES, ADVERSARIAL, LR = 10, 3, 0.1


@dataclasses.dataclass(frozen=True)
class Problem:
    """poisons (P, C, H, W), target (1, C, H, W); the state of M models, their `Batches` of K and
    lr (M,), all with a leading M; and the same models once more as `modules`, with weights.

    `how` are the arguments that `make_problem` makes the same one from.
    """

    how: tuple
    module: nn.Module
    state: State
    batches: Batches
    poisons: Tensor
    target: Tensor
    lr: Tensor
    modules: list[nn.Module]

    @property
    def name(self) -> str:
        return self.how[0]

    @property
    def steps(self) -> int:
        return self.batches.x.shape[1]

    @property
    def models(self) -> int:
        return len(self.modules)

    @property
    def rows(self) -> int:
        """How many rows of a batch are poisons."""
        return self.batches.slot.shape[1]

    @property
    def has_stats(self) -> bool:
        """Whether there is batch norm."""
        return bool(self.state.stats)

    def batch(self, m: int, k: int, poisons: Tensor, layout: torch.memory_format) -> Tensor:
        """(B, C, H, W) what model m sees in step k, with `poisons` in their rows."""
        rows = poisons[self.batches.slot[m]]
        pixels = torch.cat([rows, self.batches.x[m, k, self.rows :]])
        return pixels.contiguous(memory_format=layout)


def margin(logits: Tensor) -> Tensor:
    """max_{j≠adv} z_j − z_adv of logits (…, 1, classes): (…)."""
    others = torch.cat([logits[..., :ADVERSARIAL], logits[..., ADVERSARIAL + 1 :]], -1)
    return (others.amax(-1) - logits[..., ADVERSARIAL])[..., 0]


def make_problem(
    name: str,
    steps: int,
    models: int,
    dtype: torch.dtype = torch.float32,
    size: tuple[tuple[int, int, int], int, int] | None = None,
) -> Problem:
    """K = `steps` and M = `models` for the network `name`; `size` as in `SIZES`.

    The module is a new one each time, so that nothing has been traced yet.
    """
    size = size or SIZES[name]
    shape, batch, rows = size
    noise = torch.Generator().manual_seed(steps * 100 + models)

    def pictures(*count: int) -> Tensor:
        return torch.rand(*count, *shape, generator=noise).to(dtype)

    module = own(network(name, shape, CLASSES))
    state = stack([init(module, m) for m in range(models)]).map(lambda t: t.to(dtype))
    labels = torch.randint(0, CLASSES, (models, steps, batch), generator=noise)
    slot = torch.stack([torch.randperm(rows, generator=noise) for _ in range(models)])
    return Problem(
        how=(name, steps, models, dtype, size),
        module=module,
        state=state,
        batches=Batches(pictures(models, steps, batch), labels, slot),
        poisons=pictures(rows),
        target=pictures(1),
        lr=torch.full((models,), LR, dtype=dtype),
        modules=[_module(module, state.pick(m)) for m in range(models)],
    )


def _module(module: nn.Module, state: State) -> nn.Module:
    """One model as an ordinary module in customary layers."""
    made = conventional(module).to(next(iter(state.params.values())).dtype)
    made.load_state_dict(state.params | state.stats)
    return made
