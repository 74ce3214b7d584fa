"""Who attacks whom: training set, bases, target, adversarial class, and the attacker's loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpkit.data import DataError, Dataset
from mpkit.data.names import of_class
from mpkit.functional import State, logits
from mpkit.layers import by_batch

GOALS = ("targeted", "self-concealment", "multi-class")
BASES = {"first": "the first", "nearest": "the nearest to the target"}
"""Which pictures of the poison class become poisons, and each for people."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One attack, before any poison exists (paper, section 3.1 and 4.4).

    Attributes:
        train: what the victim trains on, N images.
        validation: test images without the targets, where accuracy is measured.
        bases: (P,) int64 rows of `train` that the attacker may change; labels stay.
        targets: (T, C, H, W) test images, never modified; `target_labels` (T,) their true classes.
        target_rows: their rows in the test set.
        adversarial: (T,) the class the attacker wants; the true class for self-concealment, whose
            attacker wants any other.
        goal: one of `GOALS`.
        flips: whether the bases stay as they are, and get the adversarial label (the reference
            that is not clean-label: `mpkit.rivals.simple.flipped`).
    """

    train: Dataset
    validation: Dataset
    bases: Tensor
    targets: Tensor
    target_labels: Tensor
    target_rows: tuple[int, ...]
    adversarial: Tensor
    goal: str = "targeted"
    flips: bool = False

    @property
    def poisoned_labels(self) -> Tensor:
        """(N,) the labels that poisoned victims train on: the right ones, unless it `flips`."""
        y = self.train.y
        return y.index_fill(0, self.bases, int(self.adversarial[0])) if self.flips else y

    @property
    def base_images(self) -> Tensor:
        """(P, C, H, W) the base images, unperturbed."""
        return self.train.x.index_select(0, self.bases)

    @property
    def choosable(self) -> bool:
        """Whether other pictures of their classes could be bases instead of these."""
        y = self.train.y
        return int(torch.isin(y, y[self.bases]).sum()) > len(self.bases)

    @property
    def slots(self) -> Tensor:
        """(N,) which poison stands in each training row; P where none does."""
        slots = torch.full((len(self.train),), len(self.bases), device=self.bases.device)
        slots[self.bases] = torch.arange(len(self.bases), device=self.bases.device)
        return slots

    def poisoned(self, poisons: Tensor) -> Tensor:
        """(N, C, H, W) training pictures, `poisons` (P, C, H, W) in [0, 1] in the bases' places."""
        if not poisons.is_floating_point():
            raise ValueError(
                f"poisons must be pixels in [0, 1], not {poisons.dtype}: divide by 255"
            )
        return self.train.x.index_copy(0, self.bases, poisons.to(self.train.x))

    def succeeded(self, logits: Tensor) -> Tensor:
        """Logits (…, T, classes) → bool (…, T), whether the attacker got their way with each.

        What is wanted must stand alone at the top: of equals argmax names the first. Where logits
        are not finite they did not.
        """
        aim = self.adversarial.expand(logits.shape[:-1])[..., None]
        own = logits.gather(-1, aim)[..., 0]
        others = logits.scatter(-1, aim, -torch.inf).amax(-1)
        won = others > own if self.goal == "self-concealment" else own > others
        return won & logits.isfinite().all(-1)

    def to(self, device: torch.device) -> Scenario:
        """The same scenario with every tensor on `device`."""
        moved = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Scenario(**{k: v.to(device) if hasattr(v, "to") else v for k, v in moved.items()})


def class_index(dataset: Dataset, name: str | int) -> int:
    """A class by name or number. Raises DataError listing the classes."""
    names = list(dataset.classes)
    for spelt in (str(name), of_class(str(name))):
        if spelt in names:
            return names.index(spelt)
    if str(name).isdecimal() and int(name) < len(names):
        return int(name)
    raise DataError(f"class {name!r} is unknown; there are: {', '.join(names)}")


def make_scenario(
    train: Dataset,
    test: Dataset,
    target_class: str | int,
    poison_class: str | int | None = None,
    *,
    adversarial_class: str | int | None = None,
    target_index: int | Sequence[int] = 0,
    budget: float = 0.1,
    goal: str = "targeted",
) -> Scenario:
    """Pick bases and targets as the official code does.

    Bases are the first n images of the poison class, n = budget · N; targets are the test images
    number `target_index` (one or several) of the target class. The adversarial class is the poison
    class unless another is named. "multi-class" takes the bases evenly from all classes and needs
    `adversarial_class`; "self-concealment" poisons the target's own class.

    Raises ValueError, naming value, allowed range and way out, for a budget that gives no poison or
    more than the class holds, classes that are equal where the goal forbids it, and so on.
    """
    if goal not in GOALS:
        raise ValueError(f"goal {goal!r} is unknown; there are: {', '.join(GOALS)}")
    if train.classes != test.classes:
        raise ValueError("training and test set must have the same classes in the same order")
    true = class_index(test, target_class)
    poison, adversarial = _classes(train, goal, true, poison_class, adversarial_class)
    bases = _pick_bases(train, goal, poison, budget)
    rows = _pick_targets(test, true, target_index)
    keep = torch.ones(len(test), dtype=torch.bool)
    keep[rows] = False
    labels = test.y[rows]
    adversarial = labels if adversarial is None else torch.full_like(labels, adversarial)
    validation = test.subset(keep.nonzero().flatten())
    return Scenario(
        train, validation, bases, test.x[rows], labels, tuple(rows.tolist()), adversarial, goal
    )


def _classes(train, goal, true, poison_class, adversarial_class) -> tuple[int | None, int | None]:
    """The poison class (None: all) and the adversarial class (None: any but the true one)."""
    name = train.classes[true]
    given = [
        None if c is None else class_index(train, c) for c in (poison_class, adversarial_class)
    ]
    poison, adversarial = given
    if goal == "self-concealment":
        if poison not in (None, true) or adversarial is not None:
            raise ValueError(
                f"self-concealment poisons the target's own class ({name}) and wants any other "
                "answer: leave poison class and adversarial class out"
            )
        return true, None
    if goal == "multi-class":
        if poison is not None or adversarial is None:
            raise ValueError(
                "multi-class poisons come from every class: "
                "name the adversarial class and no poison class"
            )
    elif poison is None:
        raise ValueError("a targeted attack needs a poison class")
    adversarial = poison if adversarial is None else adversarial
    for role, c in (("poison", poison), ("adversarial", adversarial)):
        if c == true and (role == "adversarial" or goal == "targeted"):
            raise ValueError(
                f"the {role} class must differ from the target's class ({name}); "
                "to hide a target inside its own class use the goal self-concealment"
            )
    return poison, adversarial


def _pick_bases(train: Dataset, goal: str, poison: int | None, budget: float) -> Tensor:
    if not 0 < budget <= 1:
        raise ValueError(
            f"budget must be a share of the training set above 0 and at most 1, not {budget}"
        )
    count = round(budget * len(train))
    if count == 0:
        least = 1 / len(train)
        raise ValueError(
            f"budget {budget} of {len(train)} images is less than one poison; "
            f"use at least {least:.4g}"
        )
    if goal == "multi-class":
        queues = [train.rows_of(c) for c in range(len(train.classes))]
        depth = max(map(len, queues))
        turns = [q[i] for i in range(depth) for q in queues if i < len(q)]
        return torch.stack(turns[:count])
    rows = train.rows_of(poison)
    if count > len(rows):
        raise ValueError(
            f"budget {budget} asks for {count} poisons, but class {train.classes[poison]} has only "
            f"{len(rows)} of the {len(train)} training images; "
            f"use a budget of at most {len(rows) / len(train)}"
        )
    return rows[:count]


def _pick_targets(test: Dataset, true: int, target_index: int | Sequence[int]) -> Tensor:
    # Whole numbers of torch and numpy are as good as Python's.
    index = target_index.tolist() if hasattr(target_index, "tolist") else target_index
    numbers = list(index) if isinstance(index, list | tuple | range) else [index]
    numbers = [i.item() if hasattr(i, "item") else i for i in numbers]
    rows, name = test.rows_of(true), test.classes[true]
    if len(rows) == 0:
        raise ValueError(f"the test set has no image of class {name}, and so no target")
    for i in numbers:
        if not isinstance(i, int) or not 0 <= i < len(rows):
            raise ValueError(
                f"target {i!r} of class {name} does not exist; the test set has 0 … {len(rows) - 1}"
            )
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"targets must be one or more different numbers, not {numbers}")
    return rows[numbers]


def adversarial_loss(
    logits: Tensor, scenario: Scenario, kind: str = "margin", kappa: float = 100.0
) -> Tensor:
    """L_adv of target logits (…, T, classes), averaged over the targets: (…).

    Of the scenario only `adversarial` and `goal` count. "margin" is Carlini & Wagner's
    max_{j≠adv} z_j − z_adv, clamped from below at −κ (0 means: the target has the adversarial
    class, just); "cross-entropy" is −log p_adv. For self-concealment they are
    z_true − max_{j≠true} z_j and −log(1 − p_true). Paper, section 3.2; κ = 100 in the official
    code. Raises ValueError for an unknown `kind`.
    """
    if kind not in ("margin", "cross-entropy"):
        raise ValueError(f"adversarial loss {kind!r} is unknown; there are: margin, cross-entropy")
    aim = scenario.adversarial.expand(logits.shape[:-1])[..., None]
    hide = scenario.goal == "self-concealment"
    others = logits.scatter(-1, aim, -torch.inf)  # a real mask: no floor of 0 for the others
    if kind == "margin":
        margin = others.amax(-1) - logits.gather(-1, aim)[..., 0]
        return (-margin if hide else margin).clamp(min=-kappa).mean(-1)
    if hide:
        # log(1 − p_true) = logsumexp of the others − logsumexp of all
        return (logits.logsumexp(-1) - others.logsumexp(-1)).mean(-1)
    return -F.log_softmax(logits, -1).gather(-1, aim)[..., 0].mean(-1)


class TargetLoss(NamedTuple):
    """L_adv of one model as crafting wants it: (state, pixels of the batch) → ().

    Where batch norm evaluates by the batch at hand, the targets (T, C, H, W) are appended to the
    batch that holds the poisons (official code); otherwise the batch is not looked at.
    """

    module: nn.Module
    kind: str
    kappa: float
    goal: str
    targets: Tensor
    adversarial: Tensor

    def __call__(self, state: State, x: Tensor) -> Tensor:
        pixels = torch.cat([x, self.targets]) if by_batch(self.module) else self.targets
        z = logits(self.module, state, pixels, train=False)[0][-len(self.targets) :]
        return adversarial_loss(z, self, self.kind, self.kappa)
