"""Where a lab's poisons come from: given, from a CraftLab, or crafted once and kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mpkit.evaluation.victims import noise_poisons
from mpkit.lab.kit.controls import Choice, Say
from mpkit.lab.kit.runner import Put
from mpkit.metapoison import CraftRecord, poisons_of
from mpkit.runs.attack import OF_VICTIMS, Attack
from mpkit.runs.prepared import Prepared, load_scenario, resolved
from mpkit.scenario import Scenario
from mpkit.settings import Settings
from mpkit.telling import Tell

WHEN = (("as they are now", False), ("when crafting has ended", True))
"""When a CraftLab's poisons are taken."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Poisons uint8 (P, C, H, W), the settings whose bounds they keep, and the craft step that
    they are of, of how many; None for given ones, of which the `records` of steps are not known.
    `left_out` says which of them are taken out."""

    pictures: Tensor
    settings: Settings
    step: int | None = None
    steps: int | None = None
    records: tuple[CraftRecord, ...] = ()
    left_out: str = ""

    @property
    def words(self) -> str:
        """Which ones they are."""
        if self.step is None:
            return f"given poisons{self.left_out}"
        half = ", half made" if self.step < self.steps else ""
        return f"poisons of craft step {self.step} of {self.steps}{half}{self.left_out}"


@dataclasses.dataclass(frozen=True)
class Look:
    """What a source has at one moment: the attack, its scenario, under which names of the attack
    this scenario is known, whether it is another one than before, and poisons, if there are."""

    attack: Attack
    scenario: Scenario
    keys: tuple[Attack, ...]
    new: bool
    batch: Batch | None


class Sourced:
    """The part of a lab whose poisons come from a `source`; it has a `canvas` and a `view`."""

    @property
    def attack(self) -> Attack:
        """The attack whose poisons these are."""
        return self.source.attack

    def _start_from(self, look: Look) -> None:
        with self.canvas.lock, self.lock:
            if self.source.put(look):  # the CraftLab has another attack than when it was drawn
                self._lay_out()

    def _tell_waiting(self, words: str) -> None:
        with self.canvas.lock:
            self.view.say(words)
        self.canvas.update()

    def _crafting_words(self, r: CraftRecord) -> str:
        total = self.attack.settings.craft_steps
        return f"crafting first: step {r.step} of {total}, loss {r.loss:.2f}"


class PoisonSource:
    """Poisons, and the attack and scenario they are made for; `source` as for `VictimsLab`."""

    def __init__(self, source, attack: Attack):
        self.given, self.attack = source, attack
        self.crafted: tuple[Attack, Batch] | None = None
        self._held: tuple[tuple[Attack, ...], Scenario | None] = (), None
        self._seen: Batch | None = None
        self.refresh()

    @property
    def live(self):
        """The CraftLab that they come from, or None; also once that is closed."""
        return self.given if hasattr(self.given, "attack") else None

    @property
    def scenario(self) -> Scenario:
        """Who attacks whom, as it was last put in."""
        return self._held[1]

    @property
    def batch(self) -> Batch | None:
        """The poisons, as they were last put in."""
        return self._seen

    def look(self) -> Look:
        """What there is at this moment; nothing is changed. Of a CraftLab that goes on, attack, ε
        and poisons are of one and the same step.

        Raises ValueError for given poisons that do not fit the attack's bases.
        """
        attack, batch = self.attack, None
        if live := self.live:
            own = {name: getattr(attack, name) for name in OF_VICTIMS}
            with live.lock:
                attack = dataclasses.replace(live.attack, settings=live.knobs(), **own)
                if live.records:
                    step = live.records[-1].step
                    how = step, max(step, live.total()), tuple(live.records)
                    batch = Batch(live.poisons(), live.used, *how)
        keys, scenario = self._held
        if new := attack.without_victims() not in keys:
            keys, scenario = (attack.without_victims(),), load_scenario(attack, progress=False)
        attack = resolved(attack, scenario)
        if new:
            keys = (*keys, attack.without_victims())
        if self.given is not None and not live:
            batch = self._seen  # of a CraftLab that is closed by now
        if isinstance(self.given, Tensor):
            batch = _fitting(self.given, scenario, attack.settings)
        elif batch is None and self.crafted and self.crafted[0] == attack.without_victims():
            batch = self.crafted[1]
        return Look(attack, scenario, keys, new, batch)

    def put(self, look: Look) -> bool:
        """Take over what was seen: True where the scenario is another one."""
        self.attack, self._held = look.attack, (look.keys, look.scenario)
        self._seen = look.batch
        return look.new

    def refresh(self) -> bool:
        """Take over what there is now; True and ValueError as for `put` and `look`."""
        return self.put(self.look())

    def key(self) -> Attack:
        """The attack without what is the victims' own: poisons depend on nothing else."""
        return self.attack.without_victims()

    def until_crafted(self, tell: Callable[[str], object]) -> Iterator[Put]:
        """For `items`: waits until a CraftLab's crafting has ended, and tells how far it is. Raises
        ValueError where it would for ever, and where crafting ended without poisons."""
        if not (live := self.live):
            return
        while not live.runner.phase.ended:
            if live.runner.mode != "thread":
                raise ValueError(
                    f"crafting has not ended: run it first, or take poisons {WHEN[0][0]}"
                )
            words = f"waiting: {live.runner.steps} of {live.total()} craft steps are done"
            yield Put(lambda words=words: tell(words))
            time.sleep(0.05)
        if not live.records:
            raise ValueError("crafting ended without poisons")

    def craft(self, ready: Prepared, tell: Tell | None = None) -> Iterator[CraftRecord | Put]:
        """For `items`: Algorithm 1 for `ready`, the attack prepared, that tells of its batches;
        returns the poisons of its end, which are kept."""
        key, settings = ready.attack.without_victims(), ready.attack.settings
        records = []
        for state, record in ready.craft(tell=tell):  # noqa: B007
            records.append(record)
            yield record
        how = settings.craft_steps, settings.craft_steps, tuple(records)
        batch = Batch(poisons_of(ready.scenario, state, settings), settings, *how)
        yield Put(lambda: setattr(self, "crafted", (key, batch)))
        return batch

    @property
    def there(self) -> bool:
        """Whether there are poisons, or they are to be crafted here."""
        if self.given is not None and (self.live.records if self.live else self._seen):
            return True
        return bool(self.crafted) and self.crafted[0] == self.key()

    def poisons(self) -> Tensor | None:
        """uint8 (P, C, H, W), as they are now; None as long as they are to be crafted."""
        batch = self.look().batch
        return batch and batch.pictures

    def refuse_codes(self) -> None:
        """Raises ValueError where the attack is not this lab's own to change."""
        if self.given is not None:
            raise ValueError(
                "This lab's poisons come from elsewhere, and their settings with them: use the "
                "code in a lab that was made without a source."
            )

    def when(self, wait: bool, later: Callable[..., object], say: Say) -> dict[str, Choice]:
        """The control for when poisons are taken, where there is a choice; told as
        ``later(wait=…)``."""
        if not self.live:
            return {}
        return {"wait": Choice("poisons", WHEN, wait, lambda v: later(wait=v), say, near=True)}

    @property
    def epsilon(self) -> float:
        """The ε of these poisons, in [0, 1] pixels; of given ones, the largest change in them; of
        those that are still to be crafted, the attack's."""
        look = self.look()
        return (look.batch.settings if look.batch else look.attack.settings).epsilon


def _fitting(poisons: Tensor, scenario: Scenario, settings: Settings) -> Batch:
    """Given poisons with the ε that they show, and at least one level, the least that there is.
    Raises ValueError where they do not fit."""
    bases = scenario.base_images
    if poisons.dtype != torch.uint8 or poisons.shape != bases.shape:
        raise ValueError(
            f"poisons must be uint8 pictures {tuple(bases.shape)}, one a base of this attack, "
            f"not {poisons.dtype} {tuple(poisons.shape)}"
        )
    change = poisons.cpu().float() / 255 - bases.cpu()
    epsilon = max(1, round(255 * float(change.abs().max()))) / 255
    return Batch(poisons, dataclasses.replace(settings, epsilon=epsilon))


def rescaled(scenario: Scenario, poisons: Tensor, epsilon: float, strongest: float) -> Tensor:
    """Poisons (P, C, H, W) in [0, 1] whose change from the bases is ε/ε_crafted times as large,
    rounded to 8 bits; both ε in one unit."""
    bases = scenario.base_images
    change = poisons.to(bases.device).float() / 255 - bases
    levels = 255 * (bases + change * (epsilon / strongest))
    return levels.round().clamp(0, 255) / 255


def strength(scenario: Scenario, batch: Batch) -> float:
    """The largest change in poisons, in whole levels of [0, 1] pixels, and at least one."""
    bases = scenario.base_images
    change = batch.pictures.to(bases.device).float() - 255 * bases
    return max(1, round(float(change.abs().max()))) / 255


def arm_sources(
    scenario: Scenario, poisons: Tensor, strength: float, settings: Settings, seed: int
) -> dict[str, Tensor]:
    """What each arm trains on, (N, C, H, W) in [0, 1].

    `poisons` uint8 (P, C, H, W) with `strength` percent of their change, and noise by `seed` of the
    same kind, within as many percent of the bounds of `settings`, both as 8-bit pictures.
    """
    bounds = (strength / 100 * bound for bound in (settings.epsilon, settings.epsilon_c))
    epsilon, epsilon_c = bounds
    noise = noise_poisons(scenario, epsilon, seed, epsilon_c, settings.perturbation)
    noise = noise.to(scenario.train.x.device)
    return {
        "poisoned": scenario.poisoned(rescaled(scenario, poisons, strength, 100)),
        "clean": scenario.train.x,
        "noise": scenario.poisoned(noise.float() / 255),
    }
