"""mpkit: learn how data poisoning works by crafting poisons (MetaPoison, Huang et al. 2020).

from mpkit import load_dataset, make_scenario, network, Settings, craft

train, test = load_dataset("digits")
scenario = make_scenario(train, test, target_class=1, poison_class=7)
for state, record in craft(scenario, network("mlp", train.shape, 10), Settings()):
    print(record.step, record.loss)
"""

from mpkit.data import Dataset, load_dataset
from mpkit.evaluation import Rate, VictimRecord, rate, train_victims
from mpkit.finetuning import features
from mpkit.functional import State, init, logits
from mpkit.metapoison import CraftRecord, CraftState, craft, poisons_of
from mpkit.networks import NETWORKS, network
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario, make_scenario
from mpkit.settings import Settings
from mpkit.training import sgd_step, train, unroll

__version__ = "0.1.0"

__all__ = [
    "NETWORKS",
    "CraftRecord",
    "CraftState",
    "Dataset",
    "Rate",
    "Recipe",
    "Scenario",
    "Settings",
    "State",
    "VictimRecord",
    "craft",
    "features",
    "init",
    "load_dataset",
    "logits",
    "make_scenario",
    "network",
    "poisons_of",
    "rate",
    "sgd_step",
    "train",
    "train_victims",
    "unroll",
]
