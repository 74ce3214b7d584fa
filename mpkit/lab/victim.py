"""A victim trained beside the crafting, on the poisons of this very moment."""

from __future__ import annotations

from collections.abc import Iterator

import ipywidgets as widgets

from mpkit.evaluation import arm_pictures, predict, victim_seed
from mpkit.lab.canvas import BLUE, RED, Canvas, new_figure
from mpkit.lab.runner import Runner, claim, here
from mpkit.lab.views import tidy
from mpkit.training import train


class VictimNow:
    """A button, and a small plot: what a fresh victim calls the target, epoch by epoch."""

    def __init__(self, lab, large: bool = False):
        """`lab` has `ready`, `records`, and `poisons()`."""
        self.lab, self.count = lab, 0
        self.figure = new_figure(9, 1.9, large)
        self.axes = self.figure.add_axes((0.075, 0.28, 0.9, 0.58))
        self.canvas = Canvas(self.figure, self.describe)
        self.runner = Runner(self.items, self.take, self._changed)
        claim(*here(), self.runner)
        self.button = widgets.Button(
            description="Train a victim on these poisons now", layout=widgets.Layout(width="auto")
        )
        self.button.on_click(lambda _: self.start())
        self.words = widgets.HTML()
        self.widget = widgets.VBox([widgets.HBox([self.button, self.words]), self.canvas.widget])
        self.clear()

    def start(self) -> None:
        if not self.lab.records:
            return self.lab.say("There are no poisons yet: ▶ or ⏭ first.")
        ready, self.step = self.lab.ready, self.lab.records[-1].step
        self._pictures = arm_pictures(ready.scenario, self.lab.poisons())
        self.count += 1
        self.runner.reset()
        self._lay_out()
        self.runner.run()

    def items(self) -> Iterator[tuple[int, float, float]]:
        ready = self.lab.ready
        scenario, attack = ready.scenario, ready.attack
        seed = victim_seed(attack.settings.seed, 1000 + self.count)
        runs = train(
            ready.victim_network, self._pictures, scenario.train.y, attack.victim_recipe, [seed]
        )
        for state, record in runs:
            logits = predict(ready.victim_network, state, scenario.targets[:1], scenario.train.x)
            p = logits.softmax(-1)[0, 0]
            yield (
                record.epoch,
                float(p[scenario.target_labels[0]]),
                float(p[scenario.adversarial[0]]),
            )

    def take(self, item: tuple[int, float, float]) -> None:
        self.points.append(item)
        epochs, true, wanted = zip(*self.points, strict=True)
        self.lines[0].set_data(epochs, true)
        self.lines[1].set_data(epochs, wanted)
        self.canvas.update()

    def describe(self) -> str:
        if not self.points:
            return "No victim has been trained yet."
        epoch, true, wanted = self.points[-1]
        return (
            f"A victim trained on the poisons of craft step {self.step}: after epoch {epoch} it "
            f"gives the target's own class {true:.0%} and the wanted one {wanted:.0%}."
        )

    def clear(self) -> None:
        """Forget the victim."""
        self.points: list[tuple[int, float, float]] = []
        self.runner.reset()
        self._lay_out()
        self.canvas.draw()

    def _lay_out(self) -> None:
        self.points = []
        self.axes.clear()
        names = self.lab.scenario.train.classes
        true = names[self.lab.scenario.target_labels[0]]
        wanted = names[self.lab.scenario.adversarial[0]]
        about = f" of step {self.step}" if self.count else ""
        tidy(
            self.axes, f"a fresh victim on the poisons{about}: the target's probabilities", "epoch"
        )
        self.lines = [
            self.axes.plot([], [], color=c, ls=s, lw=2, label=f"{name}")[0]
            for c, s, name in ((BLUE, "--", true), (RED, "-", wanted))
        ]
        self.axes.set(xlim=(0, self.lab.attack.victim_recipe.epochs), ylim=(-0.03, 1.03))
        self.axes.legend(loc="center right", fontsize=8)

    def _changed(self) -> None:
        if not hasattr(self, "runner"):
            return
        self.button.disabled = self.runner.phase.value in ("running", "stopping")
        if self.runner.error:
            self.lab.say(f"The victim failed: {self.runner.error}", bad=True)
        if self.runner.phase.ended:
            self.words.value = self.describe()
            self.canvas.draw()
