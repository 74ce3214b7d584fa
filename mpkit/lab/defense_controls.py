"""DefenseLab's sliders and menus: which defenses are judged, and the settings of each."""

from __future__ import annotations

from mpkit.defenses.defense import DEFENSES, Defense
from mpkit.lab.kit.attack_lab import ATTACK, CRAFTING
from mpkit.lab.kit.controls import Choice
from mpkit.lab.kit.dials import Control, dial, dials, show
from mpkit.setting import settings_of

DEFENSE = {name: s for name, s in settings_of(Defense).items() if name != "defense"}
"""What is declared of defenses, but for which one it is."""


def defense_controls(lab) -> dict[str, Control]:
    """All of a `DefenseLab`: the first acts on the picture at once, the others on the next run."""

    def of(name: str):
        return lambda value: lab.later(**{name: value})

    names, say = list(DEFENSES), lab.say
    shown = [("the latest filter", ""), *((name, name) for name in names)]
    judged = lab.set_up in lab.chosen
    count, seed = ATTACK["victims"], CRAFTING["seed"]
    return {
        "look": Choice("thrown away by", shown, lab.looked, lab.look_at, say, near=True),
        "set_up": Choice("settings of", names, lab.set_up, lab.choose, say, near=True),
        "judged": Choice(
            "is judged", [("no", False), ("yes", True)], judged, lab.judge_it, say, near=True
        ),
        **dials(DEFENSE, lab.attack.defense, lab.later, say),
        "victims": dial(
            count, lab.count, of("victims"), say, label="victims a defense", slider=(1, 32)
        ),
        "seed": dial(seed, lab.seed, of("seed"), say, label="victims' seed"),
    }


def show_defense(lab) -> None:
    """Set all of them to what is in force, or waits; of the settings, those of the defense that is
    set up are to be seen."""
    chosen = lab.waiting.get("chosen", lab.chosen)
    now = {"look": lab.looked, "set_up": lab.set_up, "judged": lab.set_up in chosen}
    now |= {"victims": lab.count, "seed": lab.seed, "wait": lab.wait}
    show(lab.controls, vars(lab.attack.defense) | now | dict(lab.waiting), DEFENSE)
    for name, s in DEFENSE.items():
        if name in lab.controls:
            acts = s.only is None or lab.set_up in s.only[1]
            lab.controls[name].widget.layout.display = "" if acts else "none"
