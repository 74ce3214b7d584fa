"""A whole attack as one value: data, scenario, crafting, victims. What the command line says.

attack = make_attack(data="digits", target_class="1", poison_class="7")
ready = prepare(attack)
for state, record in ready.craft(): ...
records = ready.judge(poisons_of(ready.scenario, state, attack.settings))
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import torch
from torch import Tensor, nn

from mpkit import targets
from mpkit.data import DEFAULT_DATA, load_dataset
from mpkit.device import Plan, make_reproducible, pick_device, plan_for
from mpkit.evaluation import (
    ARMS,
    VictimRecord,
    arm_pictures,
    noise_poisons,
    train_victims,
)
from mpkit.finetuning import (
    DEFAULT_WEIGHTS,
    FINE_TUNE,
    load_weights,
    refuse_augmentation,
    tuned_network,
)
from mpkit.metapoison import CraftRecord, CraftState, craft
from mpkit.networks import Shape
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.scale import defaults, scale_name, usual_tuning
from mpkit.scenario import Scenario, make_scenario
from mpkit.settings import Settings
from mpkit.tally import tally


@dataclasses.dataclass(frozen=True)
class Attack:
    """Everything that decides a run. Names of classes, not numbers, except for several targets'
    indices; None takes the default of `load_dataset`, and for `target_index` the rule of
    `mpkit.targets.default_target`. Units as in `Settings` and `Recipe`.

    `fine_tune` is what surrogates train, one of `mpkit.finetuning.FINE_TUNE`, and `weights` what
    they begin with. Victims do as they do, unless `victim_fine_tune` says otherwise or their
    network is another one, which is trained from scratch.

    Raises ValueError for no victims, and for an ε (or ε_c) that no 8-bit picture can show.
    """

    data: str = DEFAULT_DATA
    n_train: int | None = None
    n_test: int | None = None
    max_train: int | None = None
    max_test: int | None = None
    classes: tuple[str, ...] | None = None
    size: int = 32
    noise: float = 0.5
    difficulty: float = 1.0
    target_class: str | None = None
    target_index: tuple[int, ...] | None = None
    poison_class: str | None = None
    adversarial_class: str | None = None
    goal: str = "targeted"
    budget: float = 0.1
    network: str = "mlp"
    batch_norm: str = "running"
    fine_tune: str = "no"
    weights: str = DEFAULT_WEIGHTS
    settings: Settings = dataclasses.field(default_factory=Settings)
    victims: int = 8
    victim_network: str | None = None
    victim_fine_tune: str | None = None
    victim_recipe: Recipe = dataclasses.field(default_factory=Recipe)
    device: str = "auto"

    def __post_init__(self):
        if self.victims < 1:
            raise ValueError(f"victims must be at least 1, not {self.victims}")
        for name in ("fine_tune", "victim_fine_tune"):
            if getattr(self, name) not in (*FINE_TUNE, *[None] * (name != "fine_tune")):
                choices = ", ".join(FINE_TUNE)
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; there are: {choices}")
        if self.tuning_of_victims == "last":
            refuse_augmentation(self.victim_recipe)
        usual = {"epsilon": "8/255", "epsilon_c": "0.04"}
        bounds = PERTURBATIONS[self.settings.perturbation].bounded_by
        if all(255 * getattr(self.settings, name) < 1 - 1e-6 for name in bounds):
            name = bounds[0]
            raise ValueError(
                f"{name} {getattr(self.settings, name):.4g} leaves every 8-bit picture as it is, "
                f"whose smallest step is 1/255 (0.003922): use 1/255 or more, usual {usual[name]}"
            )

    def without_victims(self) -> Attack:
        """The attack with the usual victims: poisons depend on nothing else."""
        usual = {"victim_recipe": Recipe(), "victim_network": None, "victim_fine_tune": None}
        return dataclasses.replace(self, victims=1, **usual)

    @property
    def tuning_of_victims(self) -> str:
        """What victims train, one of `FINE_TUNE`."""
        same = self.victim_network in (None, self.network)
        return self.victim_fine_tune or (self.fine_tune if same else "no")

    def digest_of_weights(self) -> str | None:
        """The fingerprint of the weights that anybody begins with; None from scratch."""
        used = {self.fine_tune, self.tuning_of_victims} != {"no"}
        return load_weights(self.weights).digest if used else None

    def networks(self, shape: Shape, classes: int) -> tuple[nn.Module, nn.Module]:
        """The surrogates' network and the victims' for pictures of `shape` (C, H, W). Raises
        ValueError for names and weights that do not fit, or are not there."""
        given = {"weights": self.weights, "evaluation": self.batch_norm}
        mine = tuned_network(self.network, shape, classes, fine_tune=self.fine_tune, **given)
        name, given["fine_tune"] = self.victim_network or self.network, self.tuning_of_victims
        # Victims need first derivatives only, so theirs may be the fused batch norm.
        return mine, tuned_network(name, shape, classes, fused=True, **given)


PAIRS = (
    ("1", "7"),
    ("3", "8"),
    ("stop", "speed 50"),
    ("stop", "priority"),
    ("pullover", "coat"),
    ("airplane", "frog"),
    ("bird", "dog"),
)
"""(target class, poison class) where none is named: the first whose classes are both there.

The last two are the paper's."""

SETTINGS = tuple(f.name for f in dataclasses.fields(Settings) if f.name != "recipe")
RECIPE = tuple(f.name for f in dataclasses.fields(Recipe))


def make_attack(scale: str | None = None, **given) -> Attack:
    """An Attack from flat names: of Attack, Settings and Recipe, and ``victim_<recipe name>``.

    What is not given, or None, comes from the scale (see `mpkit.scale`), then from the defaults;
    victims train by the surrogates' recipe where nothing else is said. Raises ValueError for values
    out of range and TypeError for unknown names.
    """
    given = {k: v for k, v in given.items() if v is not None}
    data = given.get("data", DEFAULT_DATA)
    gpu = torch.cuda.is_available() and given.get("device", "auto") != "cpu"
    scale = scale_name(scale, gpu)
    tuning = given.get("fine_tune") or usual_tuning(data, scale, given.get("network"))
    values = defaults(data, scale, tuning) | given
    recipe = {k: values.pop(k) for k in RECIPE if k in values}
    own = {k: values.pop(f"victim_{k}") for k in RECIPE if f"victim_{k}" in values}
    settings = {k: values.pop(k) for k in SETTINGS if k in values}
    return Attack(
        **values,
        settings=Settings(**settings, recipe=Recipe(**recipe)),
        victim_recipe=Recipe(**recipe | own),
    )


def retuned(attack: Attack, fine_tune: str, network: str | None = None) -> Attack:
    """The same pictures, pair and seed, with the usual settings of another `fine_tune`, and of
    `network` if one is named."""
    usual = make_attack(
        data=attack.data, fine_tune=fine_tune, network=network, seed=attack.settings.seed
    )
    changed = ("network", "fine_tune", "settings", "victim_recipe")
    mine = {"victim_network": None, "victim_fine_tune": None}
    return dataclasses.replace(attack, **{k: getattr(usual, k) for k in changed}, **mine)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An attack with its data loaded and its networks built, ready to run."""

    attack: Attack
    scenario: Scenario
    network: nn.Module
    plan: Plan
    victim_network: nn.Module
    victim_plan: Plan

    def craft(self, state: CraftState | None = None) -> Iterator[tuple[CraftState, CraftRecord]]:
        """Algorithm 1, from the beginning or from a state."""
        return craft(self.scenario, self.network, self.attack.settings, state, self.plan)

    def judge(self, poisons: Tensor, arms=ARMS) -> Iterator[tuple[int, list[VictimRecord]]]:
        """Victims of every arm, side by side: (epoch, records), records with the last epoch."""
        a = self.attack
        noise = noise_poisons(self.scenario, a.settings.epsilon, a.settings.seed)
        stand_in = {"poisoned": poisons, "clean": None, "noise": noise}
        pictures = {arm: arm_pictures(self.scenario, stand_in[arm]) for arm in arms}
        return train_victims(
            self.scenario,
            self.victim_network,
            a.victim_recipe,
            pictures,
            victims=a.victims,
            seed=a.settings.seed,
            plan=self.victim_plan,
        )


def load_scenario(attack: Attack, progress: bool = True) -> Scenario:
    """The data of an attack, and who attacks whom in it. Raises DataError and ValueError.

    Where the attack names no target the rule does, which trains clean models if their margins are
    not known yet (see `clean_margins`).
    """
    names = ("n_train", "n_test", "max_train", "max_test", "classes")
    names = (*names, "size", "noise", "difficulty")
    wanted = {name: getattr(attack, name) for name in names}
    train, test = load_dataset(attack.data, **wanted, progress=progress)
    target, poison = _default_classes(attack, train.classes)
    names = ("adversarial_class", "budget", "goal")
    given = {name: getattr(attack, name) for name in names}
    if attack.target_index is not None:
        given["target_index"] = attack.target_index
    scenario = make_scenario(train, test, target, poison, **given)
    if attack.target_index is not None:
        return scenario
    return targets.aimed(scenario, by_rule(scenario, clean_margins(attack, scenario, progress)))


def clean_setup(attack: Attack, scenario: Scenario) -> targets.Clean:
    """What the clean margins of an attack's test pictures depend on: they train as victims do."""
    return targets.Clean(
        scenario.train,
        targets.whole_test_set(scenario),
        attack.victim_network or attack.network,
        attack.batch_norm,
        attack.victim_recipe,
        attack.tuning_of_victims,
        attack.weights,
        attack.device,
    )


def clean_margins(
    attack: Attack, scenario: Scenario, progress: bool = True, tell: targets.Tell | None = None
) -> targets.Margins:
    """Clean margins of an attack's test pictures: known, or else computed and kept."""
    return targets.clean_margins(clean_setup(attack, scenario), progress=progress, tell=tell)


def loaded_at_once(attack: Attack) -> tuple[Attack, Scenario]:
    """As `load_scenario`, without training anything, and the attack with its target in it.

    Where its target is by the rule, and margins are not known, it stays None, and the scenario has
    the first picture for the time being.
    """
    if attack.target_index is not None:
        return attack, load_scenario(attack, progress=False)
    first = dataclasses.replace(attack, target_index=(0,))
    scenario = load_scenario(first, progress=False)
    margins = targets.known_margins(clean_setup(attack, scenario))
    if margins is None:
        return attack, scenario
    index = by_rule(scenario, margins)
    return dataclasses.replace(attack, target_index=index), targets.aimed(scenario, index)


def by_rule(scenario: Scenario, margins: targets.Margins) -> tuple[int, ...]:
    """The target's index by the rule, for the classes of a scenario. Raises ValueError for none."""
    names = scenario.train.classes
    true, wanted = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    called = "any other class" if scenario.goal == "self-concealment" else names[wanted]
    return (targets.default_target(margins.targets(true, wanted), names[true], called).index,)


def _default_classes(attack: Attack, names: tuple[str, ...]) -> tuple[str, str | None]:
    """Target and poison class; those left out follow PAIRS, or else the order of the classes."""
    target, poison = attack.target_class, attack.poison_class
    pairs = [p for p in PAIRS if p[0] in names and p[1] in names] + [(names[0], names[-1])]
    if target is None:
        target = next((t for t, p in pairs if poison is None or t != poison), names[0])
    if poison is None and attack.goal == "targeted":
        others = [p for t, p in pairs if t == target] + [c for c in names if c != target]
        poison = others[0]
    return target, poison


def prepare(
    attack: Attack,
    progress: bool = True,
    plan: Plan | None = None,
    victim_plan: Plan | None = None,
    scenario: Scenario | None = None,
) -> Prepared:
    """Load data, build networks, and choose how to compute.

    Plans that are given are kept, and so is a `scenario` that was loaded for this attack before.
    The attack that is prepared names its target, whoever has named it.
    """
    device = pick_device(attack.device)
    make_reproducible(device)
    scenario = scenario or load_scenario(attack, progress)
    if attack.target_index is None:
        attack = dataclasses.replace(attack, target_index=targets.target_index(scenario))
    scenario = scenario.to(device)
    shape, classes = scenario.train.shape, len(scenario.train.classes)
    surrogate, victim = attack.networks(shape, classes)
    plan = plan or plan_for(attack.settings.models, device)
    victim_plan = victim_plan or plan_for(attack.victims * len(ARMS), device)
    return Prepared(attack, scenario, surrogate, plan, victim, victim_plan)


def summarise(attack: Attack, records: list[VictimRecord]) -> dict:
    """What is counted of the victims, arm by arm: see `mpkit.tally`."""
    arms = [arm for arm in ARMS if any(r.arm == arm for r in records)]
    return {arm: tally(records, arm) for arm in arms}


def draw_pairs(
    names: tuple[str, ...],
    count: int,
    seed: int,
    targets: int | Mapping[tuple[str, str], Sequence[int]] = 20,
) -> list[tuple[str, str, int]]:
    """`count` different attacks drawn by a seed: target class, poison class, target index.

    The index is below `targets`, or one of those listed there for the two classes. One attack
    drawn twice would count its victims twice. Raises ValueError where there are fewer.
    """
    some = targets if isinstance(targets, Mapping) else dict.fromkeys(permutations(names, 2))
    indices = {k: range(targets) if v is None else sorted(v) for k, v in some.items()}
    there = sum(len(found) for found in indices.values())
    if count > there:
        raise ValueError(f"pairs must be at most {there}, as many as there are, not {count}")
    draw, pairs = random.Random(seed), {}
    while len(pairs) < count:
        target, poison = draw.sample(names, 2)
        if found := indices.get((target, poison)):
            pairs[target, poison, found[draw.randrange(len(found))]] = None
    return list(pairs)
