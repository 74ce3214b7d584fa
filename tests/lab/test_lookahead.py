"""LookaheadLab: a film there and back, looked at again, and one poison after the other."""

from __future__ import annotations

import pytest

from mpkit.lab import LookaheadLab
from mpkit.lab.lookahead_film import Ahead, Check, Cost, Home
from tests.lab.conftest import SHORT, finished, press, said


@pytest.fixture
def look():
    labs = []

    def make(**given) -> LookaheadLab:
        labs.append(LookaheadLab(**SHORT | given))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def test_a_run_goes_there_and_back_checks_and_measures(look, until):
    lab = look(unroll_steps=2)
    assert "Nothing has run yet." in lab.describe()
    finished(lab, until)
    assert len(lab.records) == lab.total()
    kinds = [type(r) for r in lab.records]
    assert sorted(set(kinds), key=kinds.index) == [Ahead, Home, Check, Cost]
    first, last = lab.records[0], lab.records[2]
    words = lab.describe()
    assert f"is {last.loss:.2f}; it was {first.loss:.2f}" in words
    assert "passed step 1" in words
    assert "meta-gradient of K = 2" in words
    for name in ("reverse", "adjoint", "adjoint-lean", "adjoint-flat"):
        assert name in words
    assert lab.curve() == ([0, 1, 2], [r.loss for r in lab.records[:3]])


def test_the_film_can_be_looked_at_again(look, until):
    lab = look(unroll_steps=2)
    finished(lab, until)
    lab.scrub(2)  # items
    assert "After k = 1 steps" in lab.describe()
    assert "On the way back" not in lab.describe()
    assert len(lab.view.line.get_xdata()) == 2
    lab.scrub(4)
    assert "passed step 2" in lab.describe()
    assert not lab.view.memory.bars
    lab.scrub(lab.runner.steps)
    assert "meta-gradient" in lab.describe()


def test_another_poison_shows_what_has_come_home_to_it(look, until):
    lab = look()
    finished(lab, until)
    words, picture = lab.describe(), lab.canvas.widget.value
    lab.controls["which"].box.value = 3
    until(lambda: lab.canvas.widget.value != picture)
    assert "poison 3" in lab.describe()
    assert lab.describe() != words
    lab.scrub(1)
    lab.controls["which"].box.value = 2  # and the moment looked at stays
    assert "After k = 0 steps" in lab.describe()


def test_settings_of_the_next_run_wait_for_a_reset(look, until):
    lab = look()
    finished(lab, until)
    lab.controls["unroll_steps"].box.value = 3
    assert "After reset" in said(lab)
    assert len(lab.view.shares) == 1
    press(lab, "reset")
    assert len(lab.view.shares) == 3
    assert lab.total() == 27
    assert lab.ghost is not None


def test_a_code_brings_the_settings(look):
    one, two = look(seed=1, lr=0.2, digits=3), look()
    two.use_code(one.code())
    assert two.knobs() == one.knobs()
    assert two.scene is one.scene
    with pytest.raises(ValueError, match="damaged"):
        two.use_code(look().code()[:-1])


@pytest.mark.parametrize(
    "value", [{"unroll_steps": 0}, {"unroll_steps": 7}, {"network": "x"}, {"lr": 0}, {"pace": -1}]
)
def test_a_journey_that_makes_no_sense_is_refused(value):
    with pytest.raises(ValueError, match=r"between|more than|there are"):
        LookaheadLab(**value)
