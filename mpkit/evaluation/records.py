"""What is written down of a trained victim, and read back."""

from __future__ import annotations

import dataclasses
import math

from mpkit.data.schema import told, values, within

ARMS = ("poisoned", "clean", "noise")
"""Victims, and their twins in the two controls."""

LAST = 5
"""How many epochs, the last ones, tell whether a flip holds: see `VictimRecord.held`."""


@dataclasses.dataclass(frozen=True)
class VictimRecord:
    """One trained victim: what it says of the targets, and how well it reads other pictures.

    One entry a target: `predicted`, `success` (see `Scenario.succeeded`), `held` (the share of the
    last five epochs in which the attacker had their way), `adversarial_probability`,
    `true_probability` and `probabilities` (of all classes). `accuracy` on the validation images:
    of all, of the classes of the bases, of the targets' classes, and class by class; None where
    there is no such image. `statistics` are those that batch norm evaluated by ("running",
    "batch"; None without batch norm), and `other_statistics` is the same victim by the other ones.

    A victim has `diverged` if weights or logits are not finite. It succeeds nowhere, and what it
    predicts, its probabilities and accuracies are None: argmax would call them class 0. What was
    not recorded (by an earlier mpkit) is None as well.
    """

    arm: str
    victim: int
    predicted: tuple[int | None, ...]
    success: tuple[bool, ...]
    adversarial_probability: tuple[float | None, ...]
    true_probability: tuple[float | None, ...]
    accuracy: float | None
    poison_accuracy: float | None = None
    target_accuracy: float | None = None
    class_accuracy: tuple[float | None, ...] | None = None
    held: tuple[float, ...] | None = None
    probabilities: tuple[tuple[float, ...], ...] | None = None
    diverged: bool = False
    statistics: str | None = None
    other_statistics: VictimRecord | None = None


def victim_of(row: dict) -> VictimRecord:
    """A victim from its JSON object, also of an earlier mpkit, which wrote NaN and counted it.

    Raises ValueError for what is no victim.
    """
    given = values(VictimRecord, {k: v for k, v in row.items() if k != "other_statistics"})
    if (other := row.get("other_statistics")) is not None:
        if not isinstance(other, dict) or other.get("other_statistics") is not None:
            raise ValueError(f"other_statistics can't be {told(other)}")
        given["other_statistics"] = victim_of(other)
    found = VictimRecord(**given)
    said = (*found.adversarial_probability, *found.true_probability)
    finite = all(p is not None and math.isfinite(p) for p in said)
    found = found if finite and not found.diverged else silent(found)
    _check(found)
    return found


def _check(r: VictimRecord) -> None:
    """Raises ValueError for a record that cannot be of any victim."""
    if r.arm not in ARMS or r.statistics not in (None, "running", "batch"):
        raise ValueError(f"arm {told(r.arm)} or statistics {told(r.statistics)} is unknown")
    each = (r.predicted, r.success, r.adversarial_probability, r.true_probability)
    each += tuple(x for x in (r.held, r.probabilities) if x is not None)
    if not r.success or len({len(part) for part in each}) > 1:
        raise ValueError("what it says is not of the same targets")
    if None in r.predicted and not r.diverged:
        raise ValueError("it has not diverged, and predicts nothing")
    within(0, math.inf, victim=r.victim, predicted=r.predicted)
    shares = {f.name: getattr(r, f.name) for f in dataclasses.fields(r) if _is_share(f.name)}
    within(0, 1 + 1e-5, **shares)


def _is_share(name: str) -> bool:
    return name == "held" or name.endswith(("accuracy", "probability", "probabilities"))


def tuples(value: object) -> object:
    """Lists as tuples, and what they hold as well."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def silent(record: VictimRecord) -> VictimRecord:
    """The record of a victim that diverged: what it says is nothing, and no success."""
    nothing = dict.fromkeys(("accuracy", "poison_accuracy", "target_accuracy"))
    nothing |= dict.fromkeys(("class_accuracy", "probabilities"))
    each = ("predicted", "adversarial_probability", "true_probability")
    nothing |= dict.fromkeys(each, (None,) * len(record.success))
    success = (False,) * len(record.success)
    return dataclasses.replace(record, **nothing, success=success, diverged=True)
