"""What of a run says why it failed: `mpkit.evaluation.why` is told it."""

from __future__ import annotations

from collections.abc import Sequence

from mpkit.evaluation.margins import known_margins
from mpkit.evaluation.records import VictimRecord
from mpkit.evaluation.targets import Target, chosen, near_target
from mpkit.evaluation.why import Facts
from mpkit.metapoison import CraftRecord
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import clean_setup
from mpkit.scenario import Scenario

OF_TRAINING = ("augment", "flip", "weight_decay", "momentum")
"""What of a recipe makes other models of victims; how long both train is a matter of scale."""


def facts_of(
    attack: Attack,
    steps: Sequence[CraftRecord],
    victims: Sequence[VictimRecord],
    scenario: Scenario | None = None,
    targets: Sequence[Target] = (),
) -> Facts:
    """Of a run's craft steps, none if they are not known, and its victims; twins are left out.

    Margins are those of `targets`, or else those that are known for the `scenario` without
    training anything; of several targets, that of the farthest.
    """
    s, mine = attack.settings, [r for r in victims if r.arm == "poisoned"]
    others = [r.other_statistics for r in mine if r.other_statistics]
    won = [sum(sum(r.success) for r in some) for some in (mine, others)]
    n = sum(len(r.success) for r in mine)
    found, near = _margins(attack, scenario)
    far = max((t for t in found or targets if t.margin is not None), key=_margin, default=None)
    bound = max(s.bounds.values())
    return Facts(
        won=won[0],
        n=n,
        losses=tuple(r.losses for r in steps),
        ages=tuple(r.ages for r in steps),
        kind=s.loss,
        epochs=s.recipe.epochs,
        spent=steps[-1].perturbation_mean / bound if steps else 0.0,
        epsilon=s.bounds_in_words,
        ahead=s.unroll_steps,
        diverged=sum(r.diverged * len(r.success) for r in mine),
        other=(won[1], n, str(others[0].statistics)) if others else None,
        differ=differences(attack),
        margin=far and far.margin,
        third=far and far.third,
        near=near,
        method=s.method,
        choice=_choice(attack, scenario),
    )


def _choice(attack: Attack, scenario: Scenario | None) -> bool:
    """Whether other bases are measured to help: targeted, and fine-tuned on the first of a class
    that holds more."""
    tuned = "no" not in (attack.fine_tune, attack.tuning_of_victims)
    first = attack.bases == "first" and attack.goal == "targeted"
    return tuned and first and scenario is not None and scenario.choosable


def _margin(target: Target) -> float:
    return target.margin


def _margins(attack: Attack, scenario: Scenario | None) -> tuple[list[Target], float | None]:
    """The scenario's targets, and the margin of the middle one of the near third, if known."""
    known = scenario and known_margins(clean_setup(attack, scenario))
    if not known:
        return [], None
    true, adversarial = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    near = near_target(known.targets(true, adversarial))
    return chosen(scenario, known), near and near.margin


def differences(attack: Attack) -> tuple[str, ...]:
    """How victims differ from the surrogates that poisons were crafted on, in words."""
    pairs = [("network", attack.network, attack.victim_network or attack.network)]
    pairs += [("fine-tune", attack.fine_tune, attack.tuning_of_victims)]
    mine, theirs = attack.settings.recipe, attack.victim_recipe
    pairs += [(k, getattr(mine, k), getattr(theirs, k)) for k in OF_TRAINING]
    pairs += [("defense", "none", attack.defense.defense)]
    words = {True: "yes", False: "no"}
    told = [
        (k.replace("_", " "), *(words.get(v, v) if type(v) is bool else v for v in pair))
        for k, *pair in pairs
        if pair[0] != pair[1]
    ]
    return tuple(f"{name} {theirs} and not {mine}" for name, mine, theirs in told)
