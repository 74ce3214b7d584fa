"""What VictimsLab tells of its run: as a card, as a page, and why it failed if it did."""

from __future__ import annotations

import dataclasses

from mpkit.lab.kit.gallery import levels
from mpkit.lab.poison_source import rescaled
from mpkit.runs.story import Story


class Telling:
    """The part of a `VictimsLab` that tells. `reason` is why victims do not do what they should,
    once all have arrived; "" where they do."""

    reason = ""

    def story(self) -> Story:
        """The victims so far, and the poisons that they were trained on. Raises ValueError while
        there are none."""
        with self.lock:
            records, batch, share = self.records, self.batch, self.strength
        if not records:
            raise ValueError("There is nothing to tell yet: ▶ first.")
        scenario = self.source.scenario
        poisons = levels(rescaled(scenario, batch.pictures, share, 100))
        given = {"steps": batch.records, "poisons": poisons, "victims": records}
        told = "all" if share == 100 else f"{share:g}% of these poisons' change"
        told = f"{told}{batch.left_out}" if share != 100 or batch.left_out else ""
        attack = dataclasses.replace(self.attack, settings=batch.settings)
        return Story(attack, scenario, **given, share=told, code=self.code())

    def judge(self) -> None:
        """Find the reason, from those who have arrived."""
        self.reason = self.story().why

    def _changed(self) -> None:
        if self.runner.phase.ended and self.arrivals:
            self.judge()  # also where it was stopped
            if self.reason:
                self.say(self.reason)
        super()._changed()
