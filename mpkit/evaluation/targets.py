"""Which test pictures are targets, and how near each is to the class it shall get.

A picture's clean margin for an adversarial class is what L_adv measures (paper, section 3.2),

    max_{j≠adv} z_j − z_adv        (self-concealment: z_true − max_{j≠true} z_j),

the mean of eight models that were trained as victims are, on clean pictures, with seeds of their
own. Margins are computed once for a data set, a network and a recipe, and kept as safetensors;
those of the data that ship with mpkit ship too, in data/margins/.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from mpkit.data import Dataset
from mpkit.evaluation.rates import percent, rate
from mpkit.scenario import Scenario

MODELS = 8
THIRDS = ("near", "middle", "far")
DIVERGED = (
    "the training of the clean models diverged, which train as victims do: use a lower --lr, "
    "--victim-lr or --victim-weight-decay"
)


@dataclasses.dataclass(frozen=True)
class Target:
    """A test picture, number `index` of its class and `row` of the test set; its mean clean margin.

    `third` is "near", "middle" or "far", of the `of` pictures that are targets, of which it is
    number `rank` from the nearest, counted from 1. Where it is no target all three are None, and
    `why` says what is wrong with it; where the clean models diverged there is no margin either.
    """

    index: int
    row: int
    margin: float | None
    third: str | None = None
    rank: int | None = None
    of: int | None = None
    why: str = ""

    def __str__(self) -> str:
        margin = "no clean margin" if self.margin is None else f"clean margin {self.margin:+.2f}"
        if self.third is None:
            return f"{margin}, no target: {self.why}"
        return f"{margin}, {self.third} third ({self.rank} of {self.of})"


@dataclasses.dataclass(frozen=True, eq=False)
class Margins:
    """Of N test pictures and C classes: `margin` (N, C) float32, the mean of max_{j≠c} z_j − z_c;
    `votes` (N, C) int64, how many of the `MODELS` clean models give it class c; `labels` (N,)."""

    margin: Tensor
    votes: Tensor
    labels: Tensor

    def targets(self, true: int, adversarial: int) -> list[Target]:
        """All test pictures of class `true` by their margin for class `adversarial`, near first;
        those that are no targets last. For self-concealment both are the same class.

        No target: a picture that more than half of the models get wrong, or already give the
        adversarial class. With a tie, four of eight, it is one. Where one margin is as large as
        another the first picture comes first. The nearest third is the largest where three do not
        divide them.
        """
        rows = (self.labels == true).nonzero().flatten().tolist()
        margins = (-1 if adversarial == true else 1) * self.margin[rows, adversarial]
        known = [m if math.isfinite(m) else None for m in margins.tolist()]
        found = [Target(i, row, m) for i, (row, m) in enumerate(zip(rows, known, strict=True))]
        why = [self._against(t, true, adversarial) for t in found]
        good = sorted((t for t, w in zip(found, why, strict=True) if not w), key=_nearness)
        ranks = [(THIRDS[3 * i // len(good)], i + 1, len(good)) for i in range(len(good))]
        bad = [dataclasses.replace(t, why=w) for t, w in zip(found, why, strict=True) if w]
        return [
            *(Target(t.index, t.row, t.margin, *r) for t, r in zip(good, ranks, strict=True)),
            *sorted(bad, key=_nearness),
        ]

    def _against(self, target: Target, true: int, adversarial: int) -> str:
        """Why a picture is no target, "" where it is one."""
        votes = self.votes[target.row].tolist()
        if not torch.isfinite(self.margin[target.row]).all():
            return "the training of the clean models diverged"
        if adversarial != true and 2 * votes[adversarial] > MODELS:
            given = votes[adversarial]
            return f"{given} of {MODELS} clean models already give it the adversarial class"
        if 2 * (MODELS - votes[true]) > MODELS:
            return f"{MODELS - votes[true]} of {MODELS} clean models get it wrong"
        return ""


def _nearness(target: Target) -> tuple[float, int]:
    return math.inf if target.margin is None else target.margin, target.index


def near_target(targets: list[Target]) -> Target | None:
    """The middle one of the near third (of two, the nearer); None where no picture is a target."""
    near = [t for t in targets if t.third == "near"]
    return near[(len(near) - 1) // 2] if near else None


def default_target(targets: list[Target], name: str, adversarial: str) -> Target:
    """The middle one of the near third (of two, the nearer): the rule where no target is named.

    Near, as it has the least way to go and a lesson must usually work; and neither the nearest,
    which four of eight clean models may get wrong by themselves, nor picked by hand. What it shows
    need not hold for far targets, which have the most way to go. `name` and
    `adversarial` are the classes in words. Raises ValueError where no picture is a target.
    """
    if near := near_target(targets):
        return near
    if any("diverged" in t.why for t in targets):
        raise ValueError(DIVERGED)
    raise ValueError(
        f"no test picture of class {name} is a target for {adversarial}: one must be read rightly "
        f"by half of {MODELS} clean models, and none of the {len(targets)} is. Train them longer "
        f"(--epochs), or name one all the same: --target-index 0 … {len(targets) - 1}"
    )


def whole_test_set(scenario: Scenario) -> Dataset:
    """The test set whole, N pictures: validation, and the targets in their rows."""
    rest, where = scenario.validation, torch.tensor(scenario.target_rows)
    count = len(rest) + len(where)
    kept = torch.ones(count, dtype=torch.bool)
    kept[where] = False
    x = rest.x.new_empty(count, *rest.shape)
    y = rest.y.new_empty(count)
    x[kept], y[kept] = rest.x, rest.y
    x[where], y[where] = scenario.targets.to(x), scenario.target_labels.to(y)
    return Dataset(x, y, rest.classes, rest.name)


def aimed(scenario: Scenario, index: tuple[int, ...]) -> Scenario:
    """The same scenario with other test pictures of the class as targets."""
    test, true = whole_test_set(scenario), int(scenario.target_labels[0])
    rows = test.rows_of(true)[list(index)]
    kept = torch.ones(len(test), dtype=torch.bool)
    kept[rows] = False
    return dataclasses.replace(
        scenario,
        validation=test.subset(kept),
        targets=test.x[rows],
        target_labels=test.y[rows],
        target_rows=tuple(rows.tolist()),
        adversarial=scenario.adversarial[:1].expand(len(rows)).clone(),
    )


def target_index(scenario: Scenario) -> tuple[int, ...]:
    """Which pictures of their class the targets are: what `make_scenario` was given."""
    labels = whole_test_set(scenario).y
    true = int(scenario.target_labels[0])
    return tuple(int((labels[:row] == true).sum()) for row in scenario.target_rows)


def chosen(scenario: Scenario, margins: Margins) -> list[Target]:
    """The scenario's targets, in its order, with margin and third."""
    true, adversarial = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    by_row = {t.row: t for t in margins.targets(true, adversarial)}
    return [by_row[row] for row in scenario.target_rows]


def outlook(scenario: Scenario, margins: Margins) -> str:
    """One line on what clean models make of pictures that nobody has tried before: how often they
    are right, by what margins the targets can be had, and whether an attack can show anything."""
    count, labels = len(margins.labels), margins.labels
    right = margins.votes.gather(1, labels[:, None]).sum().item() / MODELS
    usual = labels.bincount().max().item() / count
    true, adversarial = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    found = margins.targets(true, adversarial)
    good = [t.margin for t in found if t.third]
    words = (
        f"{MODELS} clean models are right on {percent(right / count, 0)} of the {count} test "
        f"pictures (guessing: {percent(usual, 0)}), and {len(good)} of {len(found)} of class "
        f"{scenario.train.classes[true]} are targets"
    )
    if rate(round(right), count).low <= usual:
        return (
            f"{words}. They hardly tell the classes apart, so an attack shows nothing here: bring "
            "more pictures a class, or classes that differ more"
        )
    if not good:
        return f"{words}: an attack on any of them shows nothing"
    return (
        f"{words}, with margins of {min(good):+.1f} to {max(good):+.1f} that poisons have to "
        "overcome: an attack can succeed here, on the near ones sooner"
    )


def misleading(target: Target) -> str:
    """One line on a target that is none, what of it misleads; "" for one that is."""
    if target.third is not None:
        return ""
    return (
        f"test picture {target.index} of its class is no target: {target.why}. What its victims "
        "say is not the poisons' doing alone; mpkit targets lists better ones"
    )
