"""Chapter 01: any right way is right, and stories are told apart."""

from __future__ import annotations

import pytest
import torch

from mpkit.baselines import proximal
from mpkit.course import check
from mpkit.course.ch01 import KINDS, STORIES
from mpkit.evaluation.rates import rate


def test_the_library_itself_solves_the_proximal_step():
    assert check("01.proximal", proximal).right
    assert check("01.proximal", lambda x, base, w: (base + (x - base) / (1 + w)).clip(0, 1)).right


def test_a_ratio_by_squares_and_a_root_is_right_too():
    def by_hand(phi, poisons, bases, target):
        apart = [(phi(x) - phi(target)).square().sum(1) for x in (poisons, bases)]
        return (apart[0] / apart[1]).sqrt()

    assert check("01.ratio", by_hand).right


def test_letters_and_blanks_of_an_answer_do_not_matter():
    said = {f" {k.lower()} ": f"{kind.upper()} " for k, kind in STORIES.items()}
    assert check("01.threat", said).right


@pytest.mark.parametrize(
    ("story", "kind"), [(s, k) for s in STORIES for k in KINDS if k != STORIES[s]]
)
def test_every_wrong_story_is_named(story, kind):
    verdict = check("01.threat", STORIES | {story: kind})
    assert verdict.right is False
    assert verdict.words.startswith(f"{story}:")


def test_fifteen_of_twenty_is_the_first_that_guessing_does_not_explain():
    first = next(k for k in range(21) if rate(k, 20).low > 0.5)
    assert check("01.chance", first).right
    assert not any(check("01.chance", k).right for k in range(21) if k != first)


def test_a_picture_of_another_shape_is_no_answer():
    verdict = check("01.proximal", lambda x, base, w: torch.zeros(3))
    assert "of the shape of x" in verdict.words
