"""Every method is made, whatever trains, and runs through the command line's own way."""

import pytest

from mpkit import make_attack, poisons_of, prepare
from mpkit.rivals.registry import RIVALS, STILL_MADE
from mpkit.settings import CRAFTED, METHODS, STILL


def test_all_methods_are_there():
    assert {"metapoison", *RIVALS} == set(METHODS)
    assert set(STILL_MADE) == set(STILL)
    assert {*CRAFTED[1], *STILL} == set(METHODS)


@pytest.mark.parametrize("fine_tune", ["no", "last", "all"])
@pytest.mark.parametrize("method", RIVALS)
def test_each_runs_whatever_trains(method, fine_tune):
    given = {"data": "signs", "target_index": 0, "n_train": 80, "n_test": 30, "models": 2}
    ready = prepare(make_attack("ci", method=method, fine_tune=fine_tune, **given), progress=False)
    *_, (state, record) = ready.craft()
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    off = (poisons / 255 - ready.scenario.base_images).abs().max()
    assert off <= ready.attack.settings.epsilon + 1e-6
    assert (off == 0) == (method == "label-flip")
    assert len(record.losses) == 2
    assert record.ages == (ready.attack.settings.recipe.epochs,) * 2
