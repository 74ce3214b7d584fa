"""``mpkit attack --scenario``: the paper's attacks, on other and fewer pictures too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpkit.runs.folder import open_run
from tests.cli.conftest import call, refused

SMALL = {
    "data": "pictures", "max-train": 24, "models": 1, "craft-steps": 1, "epochs": 1, "batch": 12,
    "victims": 1, "victim-epochs": 1, "network": "mlp", "budget": 0.1, "compute": "plain",
}  # fmt: skip


@pytest.fixture
def pictures():
    """A folder of pictures with some classes of CIFAR-10."""
    draw = np.random.default_rng(0)
    for split, n in (("train", 10), ("test", 3)):
        for name in ("airplane", "bird", "dog", "frog"):
            Path("pictures", split, name).mkdir(parents=True)
            for i in range(n):
                pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(f"pictures/{split}/{name}/{i}.png")


def test_a_scenario_runs_on_what_there_is(pictures):
    small = [f"--{k}={v}" for k, v in SMALL.items()]
    said = call("attack", "--scenario", "frog-plane", *small, "--out", "run")
    assert said.code == 0, said
    first, _, rest = said.err.partition("\n")
    assert first.startswith("Scenario frog-plane: A test plane that is called a frog, from scratch")
    assert "other than there: batch, budget, compute, craft_steps, data, epochs, models" in first
    assert "24 images of pictures, 2 of them poisoned; target: test image" in rest
    assert "of class airplane, that shall be called frog" in rest
    run = open_run(Path("run"))
    assert run.attack.scenario == "frog-plane"
    assert (run.attack.budget, run.attack.target_index) == (0.1, (0,))
    assert json.loads(Path("run/settings.json").read_text())["attack"]["scenario"] == "frog-plane"
    assert "leave out --scenario" in refused("attack", "--resume", "run", "--scenario", "dog-bird")


def test_pictures_without_its_classes_are_refused_by_name(pictures):
    said = refused("attack", "--scenario", "dog-bird", "--data", "digits")
    assert "class 'bird' is unknown; there are: 0, 1" in said


def test_what_draws_targets_takes_targeted_scenarios_alone():
    for command in ("sweep", "compare"):
        said = refused(command, "--scenario", "self-concealment")
        assert "draws targeted attacks, and --scenario self-concealment is none" in said
