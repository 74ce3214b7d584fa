"""Chapter 04: the barrier that is drawn, and other right ways."""

from __future__ import annotations

import pytest
import torch

from mpkit.course import check
from mpkit.course.ch04 import SAID, found_barrier
from mpkit.lab.dynamics_record import TwinRecord
from mpkit.lab.landscape import plane_through


def test_a_barrier_is_the_highest_place_over_the_worse_end():
    a, b = torch.tensor([0.0, 0.0]), torch.tensor([4.0, 0.0])
    hill = lambda w: 5 - (w[0] - 1).abs() + 0.5 * w[0]  # noqa: E731
    places = [float(hill(a + (b - a) * i / 4)) for i in range(5)]
    assert found_barrier(hill, a, b, 5) == pytest.approx(max(places) - max(places[0], places[-1]))
    assert found_barrier(lambda w: (w[0] - 2) ** 2, a, b) == 0  # a valley has none
    assert found_barrier(lambda w: w[0], a, b) == 0


def test_the_library_itself_solves_the_exercise():
    assert check("04.barrier", found_barrier).right


def test_the_plane_of_the_labs_is_that_of_the_exercise_turned():
    origin = torch.tensor([1.0, 1.0, 1.0])
    steps = torch.tensor([[2.0, 0.0, 0.0], [3.0, 4.0, 0.0], [5.0, 6.0, 7.0]])
    a, b, point = origin + steps
    found = plane_through(origin, a, b).coordinates(torch.stack([a, b, point]))
    assert torch.allclose(found @ found.T, steps[:, :2] @ steps[:, :2].T, atol=1e-4)


def test_a_distance_of_one_long_vector_is_the_same():
    def flat(a, b):
        one, other = (torch.cat([w.flatten() for w in part.values()]) for part in (a, b))
        return (one - other).norm() / one.norm()

    assert check("04.distance", flat).right


def test_what_is_kept_of_the_twins_is_what_the_lab_keeps_too():
    fields = TwinRecord.__dataclass_fields__
    assert {"adversarial"} <= SAID.keys()
    assert "adversarial" in fields
    assert all(title and title == title.strip() for title in SAID.values())
