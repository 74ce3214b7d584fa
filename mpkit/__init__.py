"""mpkit: learn how data poisoning works by crafting poisons (MetaPoison, Huang et al. 2020).

from mpkit import make_attack, poisons_of, prepare

ready = prepare(make_attack(target_class="stop", poison_class="speed 50"))
for state, record in ready.craft():
    print(record.step, record.loss)
*_, (_, victims) = ready.judge(poisons_of(ready.scenario, state, ready.attack.settings))

`make_attack` takes every setting there is; `craft`, `make_scenario` and the rest are its parts.
"""

from mpkit.baselines import Collision, collide
from mpkit.data import load_dataset
from mpkit.evaluation.rates import rate
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import success_rate, tally
from mpkit.evaluation.victims import mean_accuracy, predict, victim_seed
from mpkit.functional import State, init, logits
from mpkit.metagradient import METAGRADIENTS
from mpkit.metapoison import craft, poisons_of, target_loss
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.runs.attack import make_attack
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import load_scenario, prepare
from mpkit.scenario import adversarial_loss, make_scenario
from mpkit.settings import Settings
from mpkit.training import sgd_step, train, unroll

__version__ = "0.1.0"

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
