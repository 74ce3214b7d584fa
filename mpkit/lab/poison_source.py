"""Where a lab's poisons come from: given, from a CraftLab, or crafted once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from mpkit.metapoison import CraftRecord, poisons_of
from mpkit.runs.attack import OF_VICTIMS, Attack
from mpkit.runs.prepared import Prepared, load_scenario, resolved
from mpkit.scenario import Scenario


class PoisonSource:
    """Poisons, and the attack and scenario they are made for; `source` as for `VictimsLab`."""

    def __init__(self, source, attack: Attack):
        self.given, self.attack = source, attack
        self.crafted: tuple[Attack, Tensor] | None = None
        self._loaded: tuple[Attack, ...] = ()
        self.refresh()

    def refresh(self) -> bool:
        """Take a CraftLab's attack over as it is now: True where the scenario is another one.

        Raises ValueError for given poisons that do not fit the attack's bases.
        """
        live = self.given
        if hasattr(live, "attack"):
            own = {name: getattr(self.attack, name) for name in OF_VICTIMS}
            self.attack = dataclasses.replace(live.attack, settings=live.knobs(), **own)
        if self.key() in self._loaded:
            self.attack = resolved(self.attack, self.scenario)
            return False
        asked, self.scenario = self.key(), load_scenario(self.attack, progress=False)
        self.attack = resolved(self.attack, self.scenario)
        self._loaded = (asked, self.key())
        bases = self.scenario.base_images
        if isinstance(live, Tensor) and (live.dtype != torch.uint8 or live.shape != bases.shape):
            raise ValueError(
                f"poisons must be uint8 pictures {tuple(bases.shape)}, one a base of this attack, "
                f"not {live.dtype} {tuple(live.shape)}"
            )
        return True

    def key(self) -> Attack:
        """The attack without what is the victims' own: poisons depend on nothing else."""
        return self.attack.without_victims()

    def craft(self, ready: Prepared) -> Iterator[CraftRecord]:
        """Algorithm 1 for `ready`, the attack prepared; its poisons are kept at the end."""
        key, settings = self.key(), ready.attack.settings
        for state, record in ready.craft():
            if record.step == settings.craft_steps:
                self.crafted = key, poisons_of(ready.scenario, state, settings)
            yield record

    def poisons(self) -> Tensor | None:
        """uint8 (P, C, H, W); None as long as they are to be crafted."""
        if isinstance(self.given, Tensor):
            return self.given
        if self.given is not None and self.given.records:
            return self.given.poisons()
        return self.crafted[1] if self.crafted and self.crafted[0] == self.key() else None

    def refuse_codes(self) -> None:
        """Raises ValueError where the attack is not this lab's own to change."""
        if self.given is not None:
            raise ValueError(
                "This lab's poisons come from elsewhere, and their settings with them: use the "
                "code in a lab that was made without a source."
            )

    @property
    def epsilon(self) -> float:
        """The ε of these poisons, in [0, 1] pixels; of given ones, the largest change in them."""
        if isinstance(self.given, Tensor):
            change = self.given.cpu().float() / 255 - self.scenario.base_images.cpu()
            return round(255 * float(change.abs().max())) / 255
        records = self.given.records if self.given is not None else ()
        return records[-1].epsilon if records else self.attack.settings.epsilon


def rescaled(scenario: Scenario, poisons: Tensor, epsilon: float, strongest: float) -> Tensor:
    """Poisons (P, C, H, W) in [0, 1] whose change from the bases is ε/ε_crafted times as large,
    rounded to 8 bits; both ε in one unit."""
    bases = scenario.base_images
    change = poisons.to(bases.device).float() / 255 - bases
    levels = 255 * (bases + change * (epsilon / strongest))
    return levels.round().clamp(0, 255) / 255
