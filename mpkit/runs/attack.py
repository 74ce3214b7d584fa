"""A whole attack as one value: data, scenario, crafting, victims. What the command line says."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import nn

from mpkit.data import DEFAULT_DATA
from mpkit.data.datasets import NAMED
from mpkit.data.digits import LARGEST
from mpkit.data.signs import HARDEST
from mpkit.defenses.defense import Defense
from mpkit.defenses.private import refuse_batch_norm
from mpkit.finetuning import (
    DEFAULT_WEIGHTS,
    FINE_TUNE,
    WORDS,
    load_weights,
    refuse_augmentation,
    tuned_network,
)
from mpkit.networks import NETWORKS, Shape
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.runs import scenarios
from mpkit.runs.scale import BY_METHOD, defaults, in_time, of_method, scale_name, usual_tuning
from mpkit.scenario import BASES, GOALS
from mpkit.setting import Dial, Live, declared, setting, settings_of
from mpkit.settings import Settings

DIGITS = "data", ("digits",)


@declared
class Attack:
    """Everything that decides a run. Names of classes, not numbers, except for several targets'
    indices; None takes the default of `load_dataset`, and for `target_index` the rule of
    `mpkit.evaluation.targets.default_target`. Units as in `Settings` and `Recipe`.

    Victims fine-tune as surrogates do, unless `victim_fine_tune` says otherwise or their network is
    another one, which is trained from scratch.

    Raises ValueError naming the value and what is allowed, also for an ε (or ε_c) that no 8-bit
    picture can show.
    """

    data: str = setting(
        DEFAULT_DATA,
        f"{', '.join(NAMED)}, or a path: a folder or archive of pictures",
        group="data",
        added=True,
    )
    n_train: int | None = setting(
        None, "training images to draw, exactly (digits: 500, signs: 600)", low=1, group="data"
    )
    n_test: int | None = setting(None, "test images to draw, exactly", low=1, group="data")
    max_train: int | None = setting(
        None, "training images at most, where --n-train isn't given", low=1, group="data"
    )
    max_test: int | None = setting(
        None, "test images at most, where --n-test isn't given", low=1, group="data"
    )
    classes: tuple[str, ...] | None = setting(
        None, "classes to keep, with commas (all)", group="data"
    )
    size: int = setting(32, "pixels a side of the digits", (8, LARGEST), only=DIGITS, group="data")
    noise: float = setting(
        0.5,
        "σ of the digits' camera noise, relative to their contrast",
        low=0,
        only=DIGITS,
        group="data",
    )
    difficulty: float = setting(
        1.0,
        f"how much the signs vary, from 0 to {HARDEST:g}",
        (0, HARDEST),
        only=("data", ("signs",)),
        group="data",
        added=True,
    )
    scenario: str | None = setting(
        None,
        "an attack of the paper or the talk, with all its settings; flags beside it go before it "
        "(mpkit scenarios lists them)",
        choices=scenarios.names(),
        group="scenario",
        added=True,
    )
    target_class: str | None = setting(
        None, "true class of the target", dial=Dial("target"), group="scenario"
    )
    target_index: tuple[int, ...] | None = setting(
        None,
        "which test images of it are targets, with commas (the middle one of the near third, which "
        "has the least way to go; a far one has the most: mpkit targets lists them all)",
        group="scenario",
    )
    poison_class: str | None = setting(
        None, "class whose images become poisons", dial=Dial("poison class"), group="scenario"
    )
    adversarial_class: str | None = setting(
        None, "class the target shall get (the poison class)", group="scenario"
    )
    goal: str = setting("targeted", "what the attacker wants", choices=GOALS, group="scenario")
    bases: str = setting(
        "first",
        "which of the class: nearest to the target by --weights' features, from scratch by pixels",
        dial=Dial("which pictures"),
        choices=(*BASES,),
        words=BASES,
        group="scenario",
        added=True,
    )
    budget: float = setting(
        0.1,
        "share of the training set that is poisoned",
        dial=Dial("poisons"),
        above=0,
        high=1,
        group="scenario",
    )
    network: str = setting(
        "mlp", "surrogates' network", dial=Dial("network"), choices=NETWORKS, group="crafting"
    )
    batch_norm: Literal["running", "batch"] = setting(
        "running", "statistics at evaluation", group="crafting"
    )
    fine_tune: str = setting(
        "no",
        "train from scratch (no), a new last layer on --weights, or all of it",
        dial=Dial("what trains"),
        choices=FINE_TUNE,
        words=WORDS,
        group="crafting",
        added=True,
    )
    weights: str = setting(
        DEFAULT_WEIGHTS,
        "pretrained weights: a name that ships, or a .safetensors file",
        group="crafting",
        added=True,
    )
    settings: Settings = dataclasses.field(default_factory=Settings)
    victims: int = setting(
        8,
        "how many fresh victims to train, and as many twins in each control",
        dial=Live("victims", "", 1, 64),
        low=1,
        group="victims",
    )
    victim_network: str | None = setting(
        None,
        "victims' network (the surrogates')",
        dial=Dial("victims' network"),
        choices=NETWORKS,
        group="victims",
    )
    victim_fine_tune: str | None = setting(
        None,
        "what victims train (as surrogates; another network: no)",
        dial=Dial("what they train"),
        choices=FINE_TUNE,
        words=WORDS,
        group="victims",
        added=True,
    )
    victim_recipe: Recipe = dataclasses.field(default_factory=Recipe)
    defense: Defense = dataclasses.field(default_factory=Defense)
    device: str = setting("auto", "auto, cpu, cuda, mps", group="run")

    def __post_init__(self):
        if self.tuning_of_victims == "last":
            refuse_augmentation(self.victim_recipe)
        bounds = PERTURBATIONS[self.settings.perturbation].bounded_by
        if all(255 * getattr(self.settings, name) < 1 - 1e-6 for name in bounds):
            name, usual = bounds[0], "8/255" if bounds[0] == "epsilon" else "0.04"
            raise ValueError(
                f"{name} {getattr(self.settings, name):.4g} leaves every 8-bit picture as it is, "
                f"whose smallest step is 1/255 (0.003922): use 1/255 or more, usual {usual}"
            )

    def without_victims(self) -> Attack:
        """The attack with one usual victim: poisons depend on nothing else."""
        usual = Attack(victims=1)
        return dataclasses.replace(self, **{name: getattr(usual, name) for name in OF_VICTIMS})

    @property
    def tuning_of_victims(self) -> str:
        """What victims train, one of `FINE_TUNE`."""
        same = self.victim_network in (None, self.network)
        return self.victim_fine_tune or (self.fine_tune if same else "no")

    def digest_of_weights(self) -> str | None:
        """The fingerprint of the weights that anybody begins with; None from scratch."""
        return load_weights(self.weights).digest if self.tuned else None

    @property
    def tuned(self) -> bool:
        """Whether anybody begins with weights."""
        return {self.fine_tune, self.tuning_of_victims} != {"no"}

    def networks(self, shape: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        """The surrogates' network and the victims' for pictures of `shape` (C, H, W). Raises
        ValueError for names and weights that do not fit, or are not there, and as dp-sgd does."""
        given = {"weights": self.weights, "evaluation": self.batch_norm}
        mine = tuned_network(self.network, shape, classes, fine_tune=self.fine_tune, **given)
        name, given["fine_tune"] = self.victim_network or self.network, self.tuning_of_victims
        # Victims need first derivatives only, so theirs may be the fused batch norm.
        theirs = tuned_network(name, shape, classes, fused=True, **given)
        if self.defense.defense == "dp-sgd":
            refuse_batch_norm(theirs)
        return mine, theirs


SETTINGS = tuple(name for name in settings_of(Settings) if name != "recipe")
RECIPE = tuple(settings_of(Recipe))
DEFENSE = tuple(settings_of(Defense))
OF_VICTIMS = ("victims", "victim_network", "victim_fine_tune", "victim_recipe", "defense")
"""What is the victims' own: poisons depend on nothing of it."""


def make_attack(scale: str | None = None, **given) -> Attack:
    """An Attack from flat names: of Attack, Settings, Recipe and Defense, and
    ``victim_<recipe name>``.

    What is not given, or None, comes from the scale (`mpkit.runs.scale`), then from the defaults;
    victims train by the surrogates' recipe where nothing else is said. A `scenario` (see
    `mpkit.runs.scenarios`) stands in the place of the scale. Raises ValueError for values out of
    range, and for a scale beside a scenario, and TypeError for unknown names.
    """
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if v is not None}
    if type(given.get("target_index")) is int:
        given["target_index"] = (given["target_index"],)
    values = (_of_scenario if given.get("scenario") else _of_scale)(scale, given) | given
    recipe = {k: values.pop(k) for k in RECIPE if k in values}
    own = {k: values.pop(f"victim_{k}") for k in RECIPE if f"victim_{k}" in values}
    settings = {k: values.pop(k) for k in SETTINGS if k in values}
    defense = {k: values.pop(k) for k in DEFENSE if k in values}
    return Attack(
        **values,
        settings=Settings(**settings, recipe=Recipe(**recipe)),
        victim_recipe=Recipe(**recipe | own),
        defense=Defense(**defense),
    )


def _of_scale(scale: str | None, given: dict) -> dict:
    """What is usual for the data, the scale and the method."""
    data = given.get("data", DEFAULT_DATA)
    gpu = torch.cuda.is_available() and given.get("device", "auto") != "cpu"
    scale = scale_name(scale, gpu)
    tuning = given.get("fine_tune") or usual_tuning(data, scale, given.get("network"))
    return in_time(defaults(data, scale, tuning) | of_method(given.get("method"), scale), given)


def _of_scenario(scale: str | None, given: dict) -> dict:
    """What a scenario has, and what is usual for another method where one is named."""
    if scale is not None:
        raise ValueError(
            f"scale {scale!r} beside a scenario, which has sizes of its own: leave it out, and say "
            "what shall be smaller (--max-train, --craft-steps, --models, --victims)"
        )
    made = scenarios.values(given["scenario"], given)
    other = given.get("method") not in (None, made.get("method", "metapoison"))
    return made | (of_method(given["method"], "gpu") if other else {})


def unlike(attack: Attack, other: Attack) -> list[str]:
    """The settings by which an attack is not `other`, where that says anything of them: flat names,
    as `make_attack` takes them."""

    def flat(a: Attack) -> dict[str, object]:
        found = vars(a) | vars(a.settings) | vars(a.defense) | vars(a.settings.recipe)
        found |= {f"victim_{k}": v for k, v in vars(a.victim_recipe).items()}
        return {k: v for k, v in found.items() if not dataclasses.is_dataclass(v)}

    mine, theirs = flat(attack), flat(other)
    return [k for k, v in theirs.items() if v is not None and mine[k] != v]


def retuned(attack: Attack, fine_tune: str, network: str | None = None) -> Attack:
    """The same pictures, pair, method and seed, with the usual settings of another `fine_tune`, and
    of `network` if one is named."""
    given = {"network": network, "method": attack.settings.method, "seed": attack.settings.seed}
    usual = make_attack(data=attack.data, fine_tune=fine_tune, **given)
    changed = ("network", "fine_tune", "bases", "settings", "victim_recipe")
    mine = {"victim_network": None, "victim_fine_tune": None, "scenario": None}
    return dataclasses.replace(attack, **{k: getattr(usual, k) for k in changed}, **mine)


def remade(attack: Attack, method: str) -> Attack:
    """The same attack by another method, with the steps and surrogates that are usual with it."""
    given = {"fine_tune": attack.fine_tune, "network": attack.network, "method": method}
    usual = make_attack(data=attack.data, **given).settings
    settings = {name: getattr(usual, name) for name in ("method", *BY_METHOD)}
    return dataclasses.replace(attack, settings=dataclasses.replace(attack.settings, **settings))
