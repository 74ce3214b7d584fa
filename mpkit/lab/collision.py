"""CollisionLab: base + δ = poison, for a network that is already trained (slides 2–4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mpkit.attack import load_scenario, make_attack
from mpkit.baselines import Collision, CollisionRecord, collide
from mpkit.functional import State
from mpkit.lab.canvas import BLACK, BLUE, GREEN, ORANGE, RED, font_size, new_figure
from mpkit.lab.codes import attack_code, attack_of
from mpkit.lab.controls import Number, Thumbnails
from mpkit.lab.knobs import Knobs
from mpkit.lab.panel import Lab, Question
from mpkit.lab.runner import Phase
from mpkit.lab.views import (
    KEPT_STYLES,
    guess_line,
    legend_below,
    one_blas_thread,
    show_guess,
    show_kept,
    show_marks,
    tidy,
)
from mpkit.networks import network
from mpkit.training import stream, train


class CollisionLab(Lab):
    """Move a base picture until a trained network cannot tell it from the target.

    `given` as for `mpkit.attack.make_attack`. The network is trained on clean pictures when a run
    first begins.
    """

    name, unit = "collision", "step"

    def __init__(
        self, question: Question | None = None, large: bool = False, seed: int = 0, **given
    ):
        self.attack, self.seed = make_attack(seed=seed, **given), seed
        self.knobs = Knobs(Collision())
        self.records: list[CollisionRecord] = []
        self.trained: State | None = None
        self.figure = new_figure(9.6, 5.2, large)
        self._load()
        self._lay_out()
        later = self._controls()
        self.assemble(self.figure, later[:3], question, later=later[3:])

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[tuple[Tensor, CollisionRecord]]:
        if self.trained is None:
            train_set = self.scenario.train
            seed = stream(self.seed, "collision")
            recipe = dataclasses.replace(self.attack.victim_recipe, epochs=10)
            *_, (state, _) = train(self.network, train_set.x, train_set.y, recipe, [seed])
            self.trained = state
        yield from collide(self.network, self.trained, self.base, self.target, self.knobs)

    def take(self, item: tuple[Tensor, CollisionRecord]) -> None:
        self.poison, record = item
        if self.records and record.beta != self.records[-1].beta:
            self.mark(record.step - 0.5, f"β {self.records[-1].beta:g} → {record.beta:g}")
        self.records.append(record)
        self._refresh()

    def clear(self) -> None:
        self.records = []
        self._load()
        self._lay_out()

    def total(self) -> int:
        return self.knobs().steps + 1

    def curve(self):
        return [r.step for r in self.records], [r.features for r in self.records]

    def guessed(self) -> None:
        show_guess(self.guess_line, self.guess)

    def kept(self) -> None:
        show_kept(self.far, self.kept_lines, [k for k in (self.ghost, *self.named) if k])

    def describe(self) -> str:
        names = self.scenario.train.classes
        about = f"A {names[self.base_class]} is to get the features of a {names[self.true]}. "
        if not self.records:
            return about + "Nothing has run yet."
        r = self.records[-1]
        return about + (
            f"After step {r.step} the features are {r.features:.2f} apart (they were "
            f"{self.records[0].features:.2f}), and a pixel moved by {255 * r.pixels:.0f} of 255 "
            f"on average; beta is {r.beta:g}. The network calls the poison {self.said}."
        )

    # ── the scene ─────────────────────────────────────────────────────────────────────────────

    def _load(self) -> None:
        self.scenario = load_scenario(self.attack, progress=False)
        train_set = self.scenario.train
        names = train_set.classes
        self.true = int(self.scenario.target_labels[0])
        self.base_class = int(train_set.y[self.scenario.bases[0]])
        self.target, self.base = self.scenario.targets[0], self.scenario.base_images[0]
        self.poison = self.base
        self.network = network(self.attack.network, train_set.shape, len(names))
        groups = [train_set.x[train_set.rows_of(c)[:40]] for c in (self.true, self.base_class)]
        self.crowd, self.sizes = torch.cat(groups), len(groups[0])

    # ── the picture ───────────────────────────────────────────────────────────────────────────

    def _lay_out(self) -> None:
        self.figure.clear()
        names = self.scenario.train.classes
        grid = self.figure.add_gridspec(
            2, 4, left=0.085, right=0.985, top=0.93, bottom=0.1, hspace=0.38, wspace=0.3
        )
        self.images = []
        titles = (
            f"base: {names[self.base_class]}",
            "change",
            "poison",
            f"target: {names[self.true]}",
        )
        for i, title in enumerate(titles):
            axes = self.figure.add_subplot(grid[0, i])
            self.images.append(
                axes.imshow(_shown(self.base), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            )
            axes.set_title(title, fontsize=font_size(self.figure, 10))
            axes.set_axis_off()
        self.images[3].set_data(_shown(self.target))
        self.far, self.space = (
            self.figure.add_subplot(grid[1, :2]),
            self.figure.add_subplot(grid[1, 2:]),
        )
        tidy(self.far, "how far from the target's features", "step", "distance")
        tidy(self.space, "features (two main directions)")
        self.far.set_xlim(0, self.knobs().steps + 0.5)
        (self.line,) = self.far.plot([], [], color=BLACK, lw=2, label="this run")
        self.kept_lines = [self.far.plot([], [], color=c, ls=s)[0] for c, s in KEPT_STYLES]
        self._marks: list = []
        looks = (
            ("s", BLUE, 4, names[self.true]), ("o", GREEN, 4, names[self.base_class]),
            ("P", GREEN, 11, "base"), ("D", ORANGE, 9, "poison"), ("*", RED, 15, "target"),
        )  # fmt: skip
        self.clouds = [
            self.space.plot([], [], m, color=c, ms=ms, mec=BLACK if ms > 4 else c, label=n)[0]
            for m, c, ms, n in looks
        ]
        self.space.set_xticks([])
        self.space.set_yticks([])
        legend_below(self.space)
        self.guess_line = guess_line(self.far)
        self.redraw_kept()

    def _refresh(self) -> None:
        change = self.poison - self.base
        factor = 0.5 / max(float(change.abs().max()), 1 / 255)
        self.images[1].set_data(_shown((0.5 + factor * change).clamp(0, 1)))
        self.images[1].axes.set_title(f"change ×{factor:.1f}", fontsize=font_size(self.figure, 10))
        self.images[2].set_data(_shown(self.poison))
        steps, distances = self.curve()
        self.line.set_data(steps, distances)
        self.far.set_ylim(0, 1.1 * max(distances))
        show_marks(self.far, self._marks, self.marks)
        self._features()

    @one_blas_thread
    @torch.no_grad()
    def _features(self) -> None:
        from sklearn.decomposition import PCA

        pictures = torch.cat(
            [self.crowd, torch.stack([self.base, self.poison.detach(), self.target])]
        )
        found = self.network(self.trained, pictures[None], False, part="features")[0][0]
        rows, count = found.double().numpy(), len(self.crowd)
        points = PCA(2, random_state=0).fit(rows[:count]).transform(rows)
        parts = np.split(points, [self.sizes, count, count + 1, count + 2])
        for cloud, part in zip(self.clouds, parts, strict=True):
            cloud.set_data(*part.T)
        low, high = points.min(0), points.max(0)
        room = 0.08 * (high - low) + 1e-6
        self.space.set_xlim(low[0] - room[0], high[0] + room[0])
        self.space.set_ylim(low[1] - room[1], high[1] + room[1])
        logits = self.network(self.trained, self.poison[None, None], False)[0][0, 0]
        self.said = self.scenario.train.classes[int(logits.argmax())]

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _controls(self) -> list:
        c, names, train_set = self.knobs(), self.scenario.train.classes, self.scenario.train
        faces = torch.stack([train_set.x[train_set.rows_of(i)[0]] for i in range(len(names))])

        def turn(**values: object) -> None:
            self.knobs.turn(**values)
            self._tell()

        self.controls = {
            "beta": Number("β, pull to base", c.beta, 0, 2, lambda v: turn(beta=v), self.say, 0.05),
            "rate": Number("step size", c.rate, 0.05, 2, lambda v: turn(rate=v), self.say, 0.05),
            "steps": Number("steps", c.steps, 1, 300, lambda v: turn(steps=v), self.say),
            "opacity": Number("watermark", c.opacity, 0, 1, self._mark_up, self.say, 0.05),
            "seed": Number("seed", self.seed, 0, 999, lambda v: self._later(seed=v), self.say),
            "target_class": Thumbnails(
                "target", faces, names, self.true,
                lambda i: self._later(target_class=names[i]), self.say,
            ),
            "poison_class": Thumbnails(
                "base", faces, names, self.base_class,
                lambda i: self._later(poison_class=names[i]), self.say,
            ),
        }  # fmt: skip
        return [c.widget for c in self.controls.values()]

    def _ready_only(self) -> None:
        if self.runner.phase is not Phase.READY:
            raise ValueError("That changes the whole run: ↺ first, and then change it.")

    def _mark_up(self, opacity: float) -> None:
        self._ready_only()
        self.knobs.turn(opacity=opacity)

    def _later(self, seed: int | None = None, **values: object) -> None:
        self._ready_only()
        attack = dataclasses.replace(self.attack, **values)
        load_scenario(attack, progress=False)  # raises what is wrong with it
        self.attack = attack
        if seed is not None:
            self.seed, self.trained = seed, None
        self.clear()
        self.canvas.draw()

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def code(self) -> str:
        own = dataclasses.asdict(self.knobs()) | {"seed": self.seed}
        return attack_code(self.name, self.attack, **own)

    def use_code(self, code: str) -> None:
        usual = dataclasses.asdict(Collision()) | {"seed": 0}
        attack, own = attack_of(self.name, code, **usual)
        seed, knobs = own.pop("seed"), Collision(**own)
        self.attack, self.seed, self.trained = attack, seed, None
        self.knobs.put(knobs)
        self.clear()
        places = {"seed": seed, "target_class": self.true, "poison_class": self.base_class}
        for name, value in (own | places).items():
            self.controls[name].show(value)
        self.canvas.draw()


def _shown(picture: Tensor):
    """(C, H, W) as matplotlib wants it."""
    return picture.detach().cpu().permute(1, 2, 0).numpy()
