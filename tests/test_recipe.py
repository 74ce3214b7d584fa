"""How a model is trained, as one value."""

from __future__ import annotations

import pytest

from mpkit.recipe import Recipe


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch": 0}, {"lr": 0}, {"momentum": 1.0}])
def test_recipes_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Recipe(**bad)
