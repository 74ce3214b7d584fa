"""What came of an attack, in the words of ``mpkit attack``."""

from __future__ import annotations

from mpkit.defenses.defended import Screening
from mpkit.evaluation.rates import Rate
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import BY, percent, with_diverged, words
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import Prepared

LABELS = {"poisoned": "poisoned", "clean": "no poison", "noise": "random noise"}


def result_lines(ready: Prepared, result: dict) -> list[str]:
    """The result, as it is in summary.json, in words."""
    a, names = ready.attack, ready.scenario.train.classes
    true = names[ready.scenario.target_labels[0]]
    hide = a.goal == "self-concealment"
    adversarial = "another class" if hide else names[ready.scenario.adversarial[0]]
    arms = {arm: result["arms"][arm] for arm in ARMS}
    lines = [f"Victims that call the {true} {adversarial}, and their accuracy on other pictures:"]
    for arm, found in arms.items():
        lines.append(_line(arm, found))
        if more := words(found, None if hide else adversarial, true, a.victim_recipe.epochs):
            lines.append(f"  {'':<13}{more}")
    other = {arm: f["other_statistics"] for arm, f in arms.items() if "other_statistics" in f}
    if other:
        by = [BY[f["poisoned"]["statistics"]] for f in (arms, other)]
        lines.append(f"That was with batch norm by {by[0]}; the same victims by {by[1]}:")
        lines += [_line(arm, found) for arm, found in other.items()]
    return lines + defended(a, result) + [result["why"]] * bool(result["why"])


def _line(arm: str, found: dict) -> str:
    rate = with_diverged(Rate(**found["success"]), found["diverged"])
    return f"  {LABELS[arm]:<13}{rate}   accuracy {percent(found['accuracy'])}"


def defended(attack: Attack, result: dict) -> list[str]:
    """What victims defended themselves with, and what a filter threw away; nothing for nothing."""
    if attack.defense.defense == "none":
        return []
    found = {arm: Screening(**row) for arm, row in result.get("screening", {}).items()}
    words = f"Victims defended themselves by {attack.defense.in_words}"
    if "privacy" in result:
        words += f" ({result['privacy']})"
    if not found:
        return [words]
    return [f"{words}: it threw away {found['poisoned']}; without poisons, {found['clean'].lost:,}"]
