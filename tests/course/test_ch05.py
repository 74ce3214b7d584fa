"""Chapter 05: its solutions are those of the library."""

from __future__ import annotations

import pytest

from mpkit.course import check
from mpkit.ensemble import Ensemble
from mpkit.evaluation.rates import paired
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe


def test_the_ensembles_own_ages_are_right():
    def age(m, c, M, T):
        return Ensemble(M, Recipe(epochs=T), 0).ages(c)[m]

    assert check("05.age", age).right


def test_the_librarys_own_projection_is_right():
    def project(delta, base, epsilon):
        noise = PERTURBATIONS["additive"]
        shaped = (part.view(-1, 1, 1, 1) for part in (delta, base))
        found = noise.project({"delta": next(shaped)}, next(shaped), epsilon, 0.0)
        return found["delta"].flatten()

    assert check("05.project", project).right


@pytest.mark.parametrize("targets", [1, 4, 10, 40])
def test_only_targets_are_independent(targets):
    assert check("05.independent", targets).right is (targets == 10)


def test_the_most_that_may_differ_is_the_end_of_the_tables_interval():
    def most(n):
        return paired([4] * n, [4] * n, 4).high  # drawn: right to three digits or so

    assert check("05.most", most).right


def test_stubs_are_open():
    assert check("05.age", lambda m, c, M, T: None).right is None
    assert check("05.project", lambda delta, base, epsilon: None).right is None
    assert check("05.most", lambda n: None).right is None
