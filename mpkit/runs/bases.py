"""Which pictures become poisons: what an attack, or its method, says of that."""

from __future__ import annotations

from torch.utils.weak import WeakTensorKeyDictionary

from mpkit.finetuning import tuned_network
from mpkit.rivals.simple import as_method_has_it
from mpkit.runs.attack import Attack
from mpkit.scenario import Scenario, nearest_bases

_known = WeakTensorKeyDictionary()
"""What was seen of training pictures, by these, and then by who saw it."""


def based(attack: Attack, scenario: Scenario) -> Scenario:
    """The scenario with the bases that the attack, or its method, wants for its targets.

    Raises ValueError and DataError for weights that do not fit, or are not there.
    """
    if attack.settings.method == "label-flip" or attack.bases == "first":
        return as_method_has_it(scenario, attack.settings.method)
    if attack.fine_tune == "no":
        return nearest_bases(scenario)
    shape, classes = scenario.train.shape, len(scenario.train.classes)
    how = {"fine_tune": "last", "weights": attack.weights}
    frozen = tuned_network(attack.network, shape, classes, **how).frozen
    known = _known.setdefault(scenario.train.x, {}).setdefault(frozen, {})
    return nearest_bases(scenario, frozen, known)
