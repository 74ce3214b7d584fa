"""The models that rivals ask are trained to their end, and stay as they are."""

from __future__ import annotations

import pytest
import torch

from mpkit.device import Plan
from mpkit.recipe import Recipe
from mpkit.rivals.finished import Finished
from mpkit.training import train
from tests.blobs import setting, small_net


@pytest.mark.parametrize("models", [1, 3])
def test_they_are_clean_models_at_their_end_at_every_craft_step(models):
    scenario, module, recipe = setting(), small_net(), Recipe(epochs=3, batch=10)
    ensemble = Finished(models, recipe, 5)
    assert ensemble.ages(0) == ensemble.ages(7) == [3] * models
    assert ensemble.seeds(0) == ensemble.seeds(100)
    state = ensemble.start(module, scenario, Plan())
    *_, (alone, _) = train(module, scenario.train.x, scenario.train.y, recipe, ensemble.seeds(0))
    for name, value in state.params.items():
        assert torch.equal(value, alone.params[name])
    assert ensemble.reinitialised(module, state, 6) is state
