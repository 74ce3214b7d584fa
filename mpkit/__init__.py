"""mpkit: learn how data poisoning works by crafting poisons (MetaPoison, Huang et al. 2020).

from mpkit import make_attack, poisons_of, prepare

ready = prepare(make_attack(target_class="stop", poison_class="speed 50"))
for state, record in ready.craft():
    print(record.step, record.loss)
*_, (_, victims) = ready.judge(poisons_of(ready.scenario, state, ready.attack.settings))

`make_attack` takes every setting there is; `craft`, `make_scenario` and the rest are its parts.
"""

import importlib

__version__ = "0.1.0"

_FROM = {
    "baselines": "Collision collide",
    "data": "load_dataset",
    "evaluation.rates": "rate",
    "evaluation.records": "ARMS",
    "evaluation.tally": "success_rate tally",
    "evaluation.victims": "mean_accuracy predict victim_seed",
    "functional": "State init logits",
    "metagradient": "METAGRADIENTS",
    "metapoison": "craft poisons_of target_loss",
    "networks": "network",
    "recipe": "Recipe",
    "runs.idle": "make_attack",
    "runs.pairs": "draw_pairs",
    "runs.prepared": "load_scenario prepare",
    "scenario": "adversarial_loss make_scenario",
    "settings": "Settings",
    "training": "sgd_step train unroll",
}
"""Module → what of it is shown here. It is loaded when it is first asked for: torch takes seconds,
and a command must be able to stop quietly meanwhile."""
_MODULES = {name: module for module, names in _FROM.items() for name in names.split()}

__all__ = [
    "ARMS",
    "METAGRADIENTS",
    "Collision",
    "Recipe",
    "Settings",
    "State",
    "adversarial_loss",
    "collide",
    "craft",
    "draw_pairs",
    "init",
    "load_dataset",
    "load_scenario",
    "logits",
    "make_attack",
    "make_scenario",
    "mean_accuracy",
    "network",
    "poisons_of",
    "predict",
    "prepare",
    "rate",
    "sgd_step",
    "success_rate",
    "tally",
    "target_loss",
    "train",
    "unroll",
    "victim_seed",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
