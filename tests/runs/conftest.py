"""Small scenarios of random pictures, and poisons that are easily told."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import torch

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense
from mpkit.evaluation.rates import rate
from mpkit.evaluation.records import ARMS, VictimRecord
from mpkit.metapoison import CraftRecord
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack
from mpkit.runs.frames import FrameKeeper
from mpkit.runs.share import attack_code
from mpkit.runs.story import Story
from mpkit.scenario import make_scenario
from mpkit.setting import Setting, settings_of
from mpkit.settings import Settings


def scenario(channels=1, size=8, poisons=4, classes=("a", "b"), **how):
    """Random pictures, the first `poisons` of class b being bases."""
    draw = torch.Generator().manual_seed(channels)

    def dataset(n):
        x = torch.randint(0, 256, (n, channels, size, size), generator=draw).float() / 255
        return Dataset(x, torch.arange(n) % 2, classes, "random")

    poison = None if how.get("goal", "targeted") != "targeted" else classes[1]
    return make_scenario(dataset(40), dataset(12), classes[0], poison, budget=poisons / 40, **how)


def arms(won=1, n=2, which=("poisoned", "clean", "noise")) -> dict[str, dict]:
    """As `mpkit.evaluation.tally.tallies` gives them."""
    counts = {arm: rate(won if arm == "poisoned" else 0, n) for arm in which}
    return {k: {"success": dataclasses.asdict(r), "accuracy": 0.9} for k, r in counts.items()}


def levels(pictures: torch.Tensor) -> np.ndarray:
    return (pictures * 255).round().to(torch.int64).numpy()


def changed(s, by: int) -> torch.Tensor:
    """Poisons: each base with its first half of rows brighter, its second darker; the later it
    comes, the more of its columns."""
    sign = torch.ones(s.base_images.shape[-2:], dtype=torch.int64)
    sign[len(sign) // 2 :] = -1
    found = torch.from_numpy(levels(s.base_images))
    for i, picture in enumerate(found):
        picture[..., : 1 + i % sign.shape[1]] += by * sign[:, : 1 + i % sign.shape[1]]
    return found.clamp(0, 255).to(torch.uint8)


def random_attack(seed: int) -> Attack:
    """Any attack at all: every field of it is drawn, so that none can be forgotten."""
    draw = random.Random(seed)

    free = {
        "device": ("auto", "cpu"), "data": ("digits", "my data/图.zip"),
        "classes": (None, ("a,b", "猫"), ("3", "8", "5")), "target_index": (None, (0,), (3, 1, 4)),
    }  # fmt: skip

    def some(name: str, s: Setting, of: type):
        if s.kind in (Settings, Recipe, Defense):
            return filled(s.kind, plain=of is Settings)
        if name in free:
            return draw.choice(free[name])
        if s.optional and draw.random() < 0.3:
            return None
        if s.choices:
            return draw.choice(s.choices)
        if s.kind is tuple:
            return tuple(sorted(draw.sample(range(50), draw.randrange(4))))
        if s.kind is bool:
            return draw.random() < 0.5
        if s.kind is float:
            most = min(v for v in (s.high, s.below, 0.999) if v is not None)
            return draw.uniform(max(0.01, s.low or 0), 0.999 * most)
        most = 60 if s.high is None else min(60, int(s.high))
        return (
            draw.choice(("3", "猫", "a b"))
            if s.kind is str
            else draw.randint(max(1, int(s.low or 1)), most)
        )

    def filled(of: type, plain: bool = False):
        values = {name: some(name, s, of) for name, s in settings_of(of).items()}
        if of is Recipe and plain:  # what Settings wants of its recipe
            values |= {"weight_decay": 0.0, "momentum": 0.0, "augment": False, "flip": False}
        if values.get("method") == "watermark":  # which is added
            values["perturbation"] = "additive"
        tunings = values.get("fine_tune"), values.get("victim_fine_tune")
        if "last" in tunings:  # a last layer takes no augmentation
            recipe = dataclasses.replace(values["victim_recipe"], augment=False, flip=False)
            return of(**values | {"victim_recipe": recipe})
        return of(**values)

    return filled(Attack)


def settings(**changes):
    recipe = Recipe(epochs=2, batch=12)
    return Settings(
        **{"models": 2, "craft_steps": 3, "unroll_steps": 2, "recipe": recipe} | changes
    )


def story(s=None, won=2, n=3, steps=4, frames=False, **given) -> Story:
    """Of a run that never was: made-up losses, poisons and victims."""
    s = s or scenario(3)
    names = s.train.classes
    attack = dataclasses.replace(
        Attack("digits"), target_class=names[0], poison_class=names[1], goal=s.goal
    )

    def said(arm: str, victim: int) -> VictimRecord:
        yes = arm == "poisoned" and victim < won
        p = (0.1, 0.9) if yes else (0.8, 0.2)
        t = len(s.targets)
        return VictimRecord(
            arm, victim, (int(yes),) * t, (yes,) * t, (p[1],) * t, (p[0],) * t, 0.9,
            probabilities=(p,) * t,
        )  # fmt: skip

    made = {
        "scenario": s,
        "steps": [
            CraftRecord(i, 3.0 - i, (3.0 - i, 2.0 - i), (3, 4), 0.1, 0.0, 2, 0.05, 0.1)
            for i in range(1, steps + 1)
        ],
        "poisons": changed(s, 10),
        "victims": [said(arm, v) for arm in ARMS for v in range(n)],
        "code": attack_code("craft", attack),
    }
    if frames:
        keeper = FrameKeeper(s)
        for i in range(1, steps + 1):
            keeper.add(i, changed(s, 3 * i))
        made["frames"] = keeper.frames()
    return Story(attack, **made | given)
