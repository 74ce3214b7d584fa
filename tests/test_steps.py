"""What a craft step leaves."""

from __future__ import annotations

import dataclasses

import torch

from mpkit import metapoison, steps
from mpkit.functional import State
from mpkit.steps import CraftState, Pull


def test_a_state_is_the_same_whatever_has_moved_the_poisons():
    state = CraftState(3, {}, {}, {}, State({}, {}))
    moved = dataclasses.replace(state, pull=Pull(torch.ones(2, 1, 4, 4), torch.ones(2)))
    assert moved == state
    assert dataclasses.replace(state, step=4) != state


def test_they_are_found_where_they_were():
    for name in ("Pull", "CraftState", "CraftRecord"):
        assert getattr(metapoison, name) is getattr(steps, name)
