"""K steps there and back: what is shown is what the engine computes."""

from __future__ import annotations

import pytest
import torch

from mpkit.batches import Batches
from mpkit.lab.lookahead_film import (
    DIRECTIONS,
    HOW,
    POISONS,
    STRATEGIES,
    WANTED,
    Ahead,
    Home,
    checks,
    costs,
    make_scene,
    there_and_back,
)
from mpkit.metagradient import reverse
from mpkit.training import unroll

K, LR = 3, 0.05


@pytest.fixture(scope="module")
def scene():
    return make_scene("mlp", 0)


@pytest.fixture(scope="module")
def film(scene):
    return list(there_and_back(scene, K, LR))


def test_the_poisons_are_of_the_class_that_the_target_is_to_be_called(scene):
    assert set(scene.y[:POISONS].tolist()) == {scene.wanted}
    assert scene.wanted not in scene.y[POISONS:].tolist()
    assert scene.x.dtype == torch.float64
    assert float(scene.adversarial_loss(scene.start)) > 0  # not yet fooled
    assert scene is make_scene("mlp", 0)
    assert not torch.equal(scene.x, make_scene("mlp", 1).x)


def test_weights_go_k_steps_forward_and_then_the_gradient_k_steps_back(scene, film):
    assert [type(r) for r in film] == [Ahead] * (K + 1) + [Home] * K
    assert [r.step for r in film] == [0, 1, 2, 3, 2, 1, 0]
    states = unroll(scene.module, scene.start, [(scene.x, scene.y)] * K, LR)
    for seen, state in zip(film, [scene.start, *states], strict=False):
        assert seen.loss == pytest.approx(float(scene.adversarial_loss(state)), rel=1e-12)
        said = scene.scores(state).softmax(0)[scene.wanted]
        assert seen.probability == pytest.approx(float(said), rel=1e-12)


def test_what_comes_home_is_the_engines_gradient(scene, film):
    home = sum(r.share for r in film if isinstance(r, Home))
    x, y = (t.expand(K, *t.shape) for t in (scene.x, scene.y))
    batches, lr = Batches(x, y, torch.arange(POISONS)), torch.tensor(LR, dtype=torch.float64)
    given = scene.module, scene.adversarial_loss, scene.poisons, scene.start, batches, lr
    wanted = reverse(*given, **HOW).gradient
    assert float((home - wanted).norm() / wanted.norm()) < 1e-10


@pytest.mark.parametrize("h", [1e-6, 0.5])
def test_differences_agree_with_a_right_gradient_and_a_small_h_alone(scene, film, h):
    home = sum(r.share for r in film if isinstance(r, Home))
    apart = [abs(a - b) for a, b in checks(scene, home, K, LR, h, 0)]
    assert len(apart) == DIRECTIONS
    assert (max(apart) < 1e-5 * float(home.norm())) == (h < 0.1)
    off = [abs(a - b) for a, b in checks(scene, 1.01 * home, K, LR, h, 0)]
    assert max(off) > 1e-5 * float(home.norm())


def test_every_strategy_is_measured_for_every_number_of_steps(scene):
    found = list(costs(scene, 2, LR))
    assert [(r.strategy, r.steps) for r in found] == [(n, k) for k in (1, 2) for n in STRATEGIES]
    assert all(r.milliseconds > 0 and r.megabytes > 0 for r in found)
    by = {(r.strategy, r.steps): r.megabytes for r in found}
    assert by["reverse", 2] > 1.5 * by["reverse", 1]


def test_the_wanted_class_is_one_of_the_signs(scene):
    assert WANTED == "give way"
    assert scene.target.shape == (1, 3, 32, 32)
