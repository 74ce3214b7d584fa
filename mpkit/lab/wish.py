"""What the attacker wants of the target, in words and in numbers: all labs say it alike."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from mpkit.data import Dataset
from mpkit.runs.attack import Attack
from mpkit.scenario import Scenario, class_index

HIDE = "self-concealment"


@dataclasses.dataclass(frozen=True)
class Wish:
    """The target's class and what it is to be called, in words, and both as numbers: where any
    other class will do (`hide`), `adversarial` is the true one, as in a `Scenario`."""

    true: str
    wanted: str
    hide: bool
    label: int
    adversarial: int

    def chance(self, true: float, adversarial: float) -> float:
        """The probability of what is wanted, by those of the true and the adversarial class; of
        tensors too."""
        return 1 - true if self.hide else adversarial

    def of(self, probabilities) -> float:
        """The same, by those of all classes; (..., classes) as a tensor."""
        if isinstance(probabilities, Tensor):
            return self.chance(probabilities[..., self.label], probabilities[..., self.adversarial])
        return self.chance(probabilities[self.label], probabilities[self.adversarial])

    def rows(self, data: Dataset) -> Tensor:
        """The rows of the class, or classes, that the target is to be taken for."""
        if self.hide:
            return (data.y != self.label).nonzero().flatten()
        return data.rows_of(self.adversarial)


def anything_but(name: str) -> str:
    """What hides a target of this class."""
    return f"anything but {name}"


def wish_of(scenario: Scenario) -> Wish:
    """Of the target that is shown, the first one."""
    names, hide = scenario.train.classes, scenario.goal == HIDE
    true, adversarial = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    wanted = anything_but(names[true]) if hide else names[adversarial]
    return Wish(names[true], wanted, hide, true, adversarial)


def wanted_by(attack: Attack) -> str:
    """The same without the data: of a run that names no class, what can be said."""
    if attack.goal == HIDE:
        return anything_but(attack.target_class or "its class")
    return attack.adversarial_class or attack.poison_class or "the adversarial class"


def most_poisons(attack: Attack, train: Dataset) -> int:
    """How many pictures the attack may poison: of one class, or of all; its classes are named."""
    if attack.goal == "multi-class":
        return len(train)
    name = attack.target_class if attack.goal == HIDE else attack.poison_class
    return len(train.rows_of(class_index(train, name)))


def placed(attack: Attack, target: str, other: str) -> dict[str, str | None]:
    """The classes of an attack on a pair: `other` is what its goal takes of it, the poisons' class,
    or what the target is to be called, or nothing."""
    if attack.goal == "targeted":
        return {"target_class": target, "poison_class": other}
    wanted = other if attack.goal == "multi-class" else None
    return {"target_class": target, "poison_class": None, "adversarial_class": wanted}
