"""Chapter 00: what its exercises take for right, and what they say to what is nearly so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpkit.course import check
from mpkit.course.ch00 import QUIZ
from mpkit.evaluation.rates import rate


@pytest.mark.parametrize("answer", [255, 255.0, np.uint8(255), torch.tensor(255)], ids=repr)
def test_a_number_may_be_of_any_kind(answer):
    assert check("00.clip", answer).right


def test_the_margin_is_that_of_its_logits():
    z = torch.tensor([4.0, 2.5, 3.0])
    assert check("00.margin", z[[0, 2]].max() - z[1]).right


@pytest.mark.parametrize("answer", [0.68, 0.676, rate(8, 8).low])
def test_the_end_of_an_interval_may_be_rounded(answer):
    assert check("00.interval", answer).right


def test_a_whole_rate_is_told_from_its_end():
    verdict = check("00.interval", rate(8, 8))
    assert verdict.right is False
    assert "take its .low" in str(verdict)


def test_the_quiz_says_of_the_interval_what_the_interval_says():
    why = QUIZ.items[2].why[0]
    assert "under 70 %" in why
    assert rate(8, 8).low < 0.7
