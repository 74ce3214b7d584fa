"""Tests of mpkit.defenses.defense."""

import pytest

from mpkit.defenses.defense import DEFENSES, KINDS, Defense, kind_of
from mpkit.defenses.filters import FILTERS
from mpkit.defenses.trainers import TRAINERS


def test_every_defense_is_there_and_of_one_kind():
    assert set(KINDS["filter"]) == set(FILTERS)
    assert {*KINDS["training"], *KINDS["certified"]} == set(TRAINERS)
    assert len(DEFENSES) == len(set(DEFENSES))
    assert kind_of("jpeg") == "training"


@pytest.mark.parametrize("given", [{"defense": "prayer"}, {"suspected": 0.5}, {"jpeg_quality": 0}])
def test_what_cannot_be_is_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        Defense(**given)


def test_a_defense_in_words_has_what_it_reads_and_nothing_else():
    assert Defense().in_words == "none"
    assert Defense(defense="jpeg", jpeg_quality=50).in_words == "jpeg, jpeg_quality 50"
