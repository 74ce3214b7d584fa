"""An attack made ready to run: data loaded, target found, networks built, and a plan.

ready = prepare(make_attack(data="digits", target_class="1", poison_class="7"))
for state, record in ready.craft(): ...
records = ready.judge(poisons_of(ready.scenario, state, ready.attack.settings))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor, nn

from mpkit.data import Dataset, load_dataset
from mpkit.data.schema import strict
from mpkit.defenses.defended import Screening, defended_victims, screened, screening
from mpkit.defenses.defense import Defense
from mpkit.defenses.filters import Filtered
from mpkit.device import Plan, make_reproducible, pick_device, plan_for
from mpkit.evaluation import margins, targets
from mpkit.evaluation.records import ARMS, VictimRecord, victim_of
from mpkit.evaluation.victims import Watch, arm_pictures, noise_poisons, train_victims
from mpkit.metapoison import CraftRecord, CraftState, craft
from mpkit.ranks import ALONE, Ranks
from mpkit.runs.attack import Attack
from mpkit.runs.bases import based
from mpkit.runs.pairs import default_classes
from mpkit.runs.trial import parts_of
from mpkit.scenario import Scenario, make_scenario
from mpkit.settings import Settings
from mpkit.telling import Tell


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An attack with its data loaded and its networks built, ready to run, on all of `ranks`: its
    methods are for all of them at once then, and records of victims come on the first."""

    attack: Attack
    scenario: Scenario
    network: nn.Module
    plan: Plan
    victim_network: nn.Module
    victim_plan: Plan
    ranks: Ranks = ALONE

    def craft(
        self,
        state: CraftState | None = None,
        settings: Callable[[], Settings] | None = None,
        tell: Tell | None = None,
    ) -> Iterator[tuple[CraftState, CraftRecord]]:
        """Algorithm 1, from the beginning or from a state, by the attack's settings or those that
        `settings()` gives before every step. `tell` as for `mpkit.craft`.

        Raises ValueError where surrogates diverge: from then on pictures would be no numbers, and
        no longer within ε.
        """
        used = settings or self.attack.settings
        given = self.scenario, self.network, used, state, self.plan, tell
        for after, record in craft(*given, ranks=self.ranks):
            if not math.isfinite(record.loss):
                raise ValueError(
                    f"the adversarial loss is {record.loss} at craft step {record.step}, as the "
                    "surrogates' training diverged: start anew with a lower --lr"
                )
            yield after, record

    def arms(self, poisons: Tensor, names=ARMS) -> dict[str, Dataset]:
        """The training set of each arm, `poisons` uint8 (P, C, H, W); of the poisoned one also the
        labels, where the method changes those."""
        s, train = self.attack.settings, self.scenario.train
        noise = noise_poisons(self.scenario, s.epsilon, s.seed, s.epsilon_c, s.perturbation)
        stand_in = {"poisoned": poisons, "clean": None, "noise": noise}
        pictures = {arm: arm_pictures(self.scenario, stand_in[arm]) for arm in names}
        y = {"poisoned": self.scenario.poisoned_labels}
        replaced = dataclasses.replace
        return {arm: replaced(train, x=x, y=y.get(arm, train.y)) for arm, x in pictures.items()}

    def judge(
        self,
        poisons: Tensor,
        arms=ARMS,
        tell: Tell | None = None,
        defense: Defense | None = None,
        kept: Mapping[str, Filtered] | None = None,
    ) -> Iterator[tuple[int, list[VictimRecord]]]:
        """Victims of every arm, by the attack's defense where none is given: (epoch, records).
        Without one they train side by side, with one arm after arm, and epochs are counted on (see
        `epochs`); records come with the last epoch. `kept`: what `screened` gave, if it was asked
        before."""
        data, victims = self.arms(poisons, arms), range(self.attack.victims)
        return self.train(data, victims, tell=tell, defense=defense, kept=kept)

    def train(
        self,
        data: Mapping[str, Dataset],
        victims: range,
        *,
        seed: int | None = None,
        tell: Tell | None = None,
        defense: Defense | None = None,
        kept: Mapping[str, Filtered] | None = None,
        watch: Watch | None = None,
    ) -> Iterator[tuple[int, list[VictimRecord]]]:
        """As `judge`, these victims of any training sets, each by its arm; `watch` as for
        `train_victims`."""
        a, defense = self.attack, defense or self.attack.defense
        how = {"victims": victims, "seed": a.settings.seed if seed is None else seed}
        how |= {"plan": self.victim_plan, "tell": tell, "watch": watch}
        given = self.scenario, self.victim_network, a.victim_recipe
        if defense.defense != "none":
            own = self.ranks.own(len(victims))
            how["victims"] = victims[own.start : own.stop]
            runs = defended_victims(*given, data, defense=defense, kept=kept, **how)
            return self._from_all(_at_the_end(runs, self.epochs(data, defense)), data)
        how |= {"labels": {arm: d.y for arm, d in data.items()}, "ranks": self.ranks}
        pictures = {arm: d.x for arm, d in data.items()}
        return self._from_all(train_victims(*given, pictures, **how), data)

    def _from_all(
        self, runs: Iterator[tuple[int, list[VictimRecord]]], arms: Iterable[str]
    ) -> Iterator[tuple[int, list[VictimRecord]]]:
        """The same epochs; with the last, on the first rank, all ranks' records."""
        if self.ranks.size == 1:
            yield from runs
            return
        for epoch, records in runs:
            if not records:
                yield epoch, records
        mine = [strict(dataclasses.asdict(r)) for r in records]
        found = [victim_of(row) for rows in self.ranks.collected(mine) for row in rows]
        order = {arm: i for i, arm in enumerate(arms)}
        yield epoch, sorted(found, key=lambda r: (order[r.arm], r.victim))

    def epochs(self, arms=ARMS, defense: Defense | None = None) -> int:
        """The last epoch that `judge` counts: arm after arm where there is a defense."""
        defended = (defense or self.attack.defense).defense != "none"
        return self.attack.victim_recipe.epochs * (len(arms) if defended else 1)

    def kept(
        self,
        data: Mapping[str, Dataset],
        tell: Tell | None = None,
        defense: Defense | None = None,
        seed: int | None = None,
    ) -> dict[str, Filtered]:
        """What a filter keeps of each training set; nothing where the defense is no filter."""
        a, seed = self.attack, self.attack.settings.seed if seed is None else seed
        how = {"defense": defense or a.defense, "plan": self.victim_plan, "tell": tell}
        return screened(self.victim_network, a.victim_recipe, data, seed=seed, **how)

    def screened(
        self, poisons: Tensor, arms=ARMS, tell: Tell | None = None, defense: Defense | None = None
    ) -> tuple[dict[str, Filtered], dict[str, Screening]]:
        """What a filter keeps of each arm, for `judge`, and how that was: of clean pictures and of
        noise none is a poison. Nothing where the defense is no filter."""
        kept = self.kept(self.arms(poisons, arms), tell, defense)
        rows = {arm: self.scenario.bases[: None if arm == "poisoned" else 0] for arm in kept}
        return kept, {arm: screening(found, rows[arm]) for arm, found in kept.items()}


def _at_the_end(
    runs: Iterator[tuple[int, list[VictimRecord]]], last: int
) -> Iterator[tuple[int, list[VictimRecord]]]:
    """The same epochs, all records with the last: those of each arm come with its own."""
    found: list[VictimRecord] = []
    for epoch, records in runs:
        found += records
        yield epoch, found if epoch == last else []


def load_scenario(attack: Attack, progress: bool = True) -> Scenario:
    """The data of an attack, and who attacks whom in it. Raises DataError and ValueError.

    Where the attack names no target the rule does, which trains clean models if their margins are
    not known yet (see `clean_margins`).
    """
    names = ("n_train", "n_test", "max_train", "max_test", "classes")
    names = (*names, "size", "noise", "difficulty")
    pictures = {name: getattr(attack, name) for name in names}
    train, test = load_dataset(attack.data, **pictures, progress=progress)
    target, poison = default_classes(attack, train.classes)
    names = ("adversarial_class", "budget", "goal")
    given = {name: getattr(attack, name) for name in names}
    if attack.target_index is not None:
        given["target_index"] = attack.target_index
    scenario = make_scenario(train, test, target, poison, **given)
    if attack.target_index is None:
        index = by_rule(scenario, clean_margins(attack, scenario, progress))
        scenario = targets.aimed(scenario, index)
    return based(attack, scenario)


def clean_setup(attack: Attack, scenario: Scenario) -> margins.Clean:
    """What the clean margins of an attack's test pictures depend on: they train as victims do."""
    return margins.Clean(
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
    attack: Attack, scenario: Scenario, progress: bool = True, tell: margins.Tell | None = None
) -> targets.Margins:
    """Clean margins of an attack's test pictures: known, or else computed and kept."""
    return margins.clean_margins(clean_setup(attack, scenario), progress=progress, tell=tell)


def loaded_at_once(attack: Attack) -> tuple[Attack, Scenario]:
    """As `load_scenario`, without training anything, and the attack with its target in it.

    Where its target is by the rule, and margins are not known, it stays None, and the scenario has
    the first picture for the time being.
    """
    if attack.target_index is not None:
        return attack, load_scenario(attack, progress=False)
    first = dataclasses.replace(attack, target_index=(0,))
    scenario = load_scenario(first, progress=False)
    known = margins.known_margins(clean_setup(attack, scenario))
    if known is None:
        return attack, scenario
    index = by_rule(scenario, known)
    scenario = based(attack, targets.aimed(scenario, index))
    return dataclasses.replace(attack, target_index=index), scenario


def resolved(attack: Attack, scenario: Scenario) -> Attack:
    """The attack with its classes and its target by name: what was a default, or followed a rule,
    must not become another one when something else is changed."""
    names, found = scenario.train.classes, {"target_class": scenario.target_labels}
    if attack.goal == "targeted":
        # Of flipped labels the bases are of another class: those of the target's, or any.
        flips = attack.settings.method == "label-flip"
        found["poison_class"] = scenario.adversarial if flips else scenario.train.y[scenario.bases]
    chosen: dict[str, object] = {name: names[int(label[0])] for name, label in found.items()}
    if attack.target_index is None:
        chosen["target_index"] = targets.target_index(scenario)
    return dataclasses.replace(attack, **chosen)


def by_rule(scenario: Scenario, found: targets.Margins) -> tuple[int, ...]:
    """The target's index by the rule, for the classes of a scenario. Raises ValueError for none."""
    names = scenario.train.classes
    true, adversarial = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    called = "any other class" if scenario.goal == "self-concealment" else names[adversarial]
    try:
        mine = found.targets(true, adversarial)
        return (targets.default_target(mine, names[true], called).index,)
    except ValueError as error:
        if not found.margin.isfinite().all():
            raise
        raise ValueError(f"{error}. {targets.outlook(scenario, found)}") from error


def prepare(
    attack: Attack,
    progress: bool = True,
    plan: Plan | None = None,
    victim_plan: Plan | None = None,
    scenario: Scenario | None = None,
    *,
    ranks: Ranks = ALONE,
) -> Prepared:
    """Load data, build networks, and choose how to compute.

    Plans that are given are kept, and so is a `scenario` that was loaded for this attack before.
    The attack that is prepared names its classes and its target, whoever has named them.
    """
    device = pick_device(attack.device)
    make_reproducible(device)
    scenario = scenario or load_scenario(attack, progress)
    attack = resolved(attack, scenario)
    scenario = based(attack, scenario).to(device)
    shape, classes = scenario.train.shape, len(scenario.train.classes)
    surrogate, victim = attack.networks(shape, classes)
    parts = parts_of(attack, len(scenario.train))
    plan = plan or plan_for(attack.settings.models, device, parts)
    victim_plan = victim_plan or plan_for(attack.victims * len(ARMS), device)
    return Prepared(attack, scenario, surrogate, plan, victim, victim_plan, ranks)
