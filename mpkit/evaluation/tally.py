"""What is counted of an arm's victims beside the success rate, pooled, and put into words.

A tally is a plain JSON object: `success` (a `Rate`), `diverged` (how many), the means `accuracy`,
`poison_accuracy`, `target_accuracy`, `class_accuracy`, `held`, `adversarial_probability`,
`true_probability` and `probabilities` of what `VictimRecord` calls so, `statistics`, and, where
there is batch norm, `other_statistics`: a tally by the other ones. None: not recorded, or of no
victim. What diverged counts as no success, and in no mean but that of `held`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mpkit.evaluation.rates import Rate, clustered_rate, fallen, percent, rate
from mpkit.evaluation.records import ARMS, LAST, VictimRecord

MEANS = ("accuracy", "poison_accuracy", "target_accuracy", "class_accuracy", "held")
MEANS += ("adversarial_probability", "true_probability", "probabilities")

BY = {
    "running": "running statistics",
    "batch": "the statistics of the batch",
    None: "no batch norm",
}


def success_rate(records: list[VictimRecord], arm: str) -> Rate:
    """Successes over all victims × targets of an arm; a victim that diverged has none."""
    outcomes = [s for r in records if r.arm == arm for s in r.success]
    return rate(sum(outcomes), len(outcomes))


def diverged(records: Sequence[VictimRecord], arm: str) -> int:
    """How many of an arm's victims diverged."""
    return sum(r.diverged for r in records if r.arm == arm)


def tally(records: Sequence[VictimRecord], arm: str) -> dict:
    """The tally of one arm. Raises ValueError for an arm without victims."""
    mine = [r for r in records if r.arm == arm]
    found = {
        "success": dataclasses.asdict(success_rate(mine, arm)),
        "diverged": diverged(mine, arm),
    }
    found |= {name: _mean([getattr(r, name) for r in mine]) for name in MEANS}
    # Of several targets, what is one number for people; what each is given is in `probabilities`.
    for name in ("held", "adversarial_probability", "true_probability"):
        found[name] = _mean(found[name] or [])
    found["statistics"] = mine[0].statistics
    if others := [r.other_statistics for r in mine if r.other_statistics]:
        found["other_statistics"] = tally(others, arm)
    return found


def tallies(records: Sequence[VictimRecord]) -> dict[str, dict]:
    """The tally of every arm that has victims."""
    return {arm: tally(records, arm) for arm in ARMS if any(r.arm == arm for r in records)}


def _mean(values: Sequence) -> object:
    """The mean of numbers, or entry by entry of equally long lists; None is left out."""
    there = [v for v in values if v is not None]
    if not there:
        return None
    if isinstance(there[0], list | tuple):
        return [_mean(entries) for entries in zip(*there, strict=True)]
    return sum(there) / len(there)


def means_of(tallies: Sequence[dict]) -> dict:
    """The means of several attacks' tallies, each attack weighing the same, and the sum of
    `diverged`; also of tallies by an earlier mpkit, which lack some. For `words`."""
    numbers = [name for name in MEANS if name not in ("class_accuracy", "probabilities")]
    found = {name: _mean([t.get(name) for t in tallies]) for name in numbers}
    return found | {"diverged": sum(t.get("diverged", 0) for t in tallies)}


def by_target(tallies: Sequence[dict]) -> tuple[Rate, Rate]:
    """Of attacks on one target each: the share of targets that fell, and that of victims."""
    counts = [(t["success"]["successes"], t["success"]["n"]) for t in tallies]
    return fallen(*zip(*counts, strict=True)), clustered_rate(*zip(*counts, strict=True))


def with_diverged(found: object, count: int) -> str:
    """A rate in words, and how many of its victims diverged, if any did."""
    return f"{found}" + (f", {count} diverged" if count else "")


def words(found: dict, adversarial: str | None, true: str | None, epochs: int) -> str:
    """A tally in words, but for success and accuracy overall; "" where all diverged.

    `adversarial` names that class (None: any but the true one), `true` the target's own (None:
    leave probabilities out); `epochs` of the victims' training.
    """
    if found["accuracy"] is None:
        return ""
    last, names = min(LAST, epochs), ["whether it holds", "accuracy by class"]
    parts = dict.fromkeys(names + ["probabilities"] * (true is not None))
    if (held := found.get("held")) is not None:
        parts["whether it holds"] = f"held {held * last:.1f} of the last {last} epochs"
    if true is not None and (p := found.get("true_probability")) is not None:
        given = (
            []
            if adversarial is None
            else [f"{adversarial}: {found['adversarial_probability']:.2f}"]
        )
        parts["probabilities"] = f"mean probability of {', '.join([*given, f'{true}: {p:.2f}'])}"
    classes = [found.get("poison_accuracy"), found.get("target_accuracy")]
    if classes != [None, None]:
        of = "accuracy of the poison class {}, of the target's {}"
        parts["accuracy by class"] = of.format(*map(percent, classes))
    missing = ", ".join(name for name, text in parts.items() if text is None)
    told = [text for text in parts.values() if text is not None]
    return "; ".join(told + [f"not recorded: {missing}"] * bool(missing))


def counted(records: Sequence[VictimRecord], arm: str, epochs: int) -> str:
    """An arm in one line, for labs: success and accuracy, how long it held, and success by the
    other statistics where there is batch norm. Raises ValueError for an arm without victims."""
    found = tally(records, arm)
    rate = with_diverged(Rate(**found["success"]), found["diverged"])
    more = [words(found, None, None, epochs)]
    if other := found.get("other_statistics"):
        more.append(f"with batch norm by {BY[other['statistics']]} {Rate(**other['success'])}")
    more = "; ".join(filter(None, more))
    return f"{rate}, accuracy {percent(found['accuracy'])}" + (f" ({more})" if more else "")
