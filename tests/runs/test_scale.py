"""How big everything is: the word, where it comes from, and that what it stands for will run."""

from __future__ import annotations

import itertools

import pytest

from mpkit.finetuning import FINE_TUNE
from mpkit.runs import scale
from mpkit.runs.attack import make_attack
from mpkit.runs.scale import SCALES, defaults, scale_name
from mpkit.settings import STILL

SOURCES = ("digits", "signs", "fashion", "cifar10", "my-pictures.zip")


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("gpu", [False, True])
def test_a_name_that_is_given_counts_most(name, gpu, monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "nonsense")
    assert scale_name(name, gpu) == name


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("gpu", [False, True])
def test_then_the_environment_counts(name, gpu, monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", name)
    assert scale_name(None, gpu) == name


@pytest.mark.parametrize("empty", [None, ""])
def test_then_the_machine_counts(empty, monkeypatch):
    if empty is not None:
        monkeypatch.setenv("MPKIT_SCALE", empty)
    assert scale_name(None, gpu=False) == "laptop"
    assert scale_name(None, gpu=True) == "gpu"


@pytest.mark.parametrize("wrong", ["huge", "CI", "laptop "])
def test_an_unknown_word_is_refused_with_those_that_are_known(wrong, monkeypatch):
    for given in (wrong, None):
        monkeypatch.setenv("MPKIT_SCALE", wrong)
        with pytest.raises(ValueError, match=f"{wrong!r} is unknown.*ci, laptop, gpu"):
            scale_name(given)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("tuning", FINE_TUNE)
def test_every_scale_is_an_attack(source, name, tuning):
    # make_attack refuses names that no setting has, and values out of range.
    values = defaults(source, name, tuning)
    attack = make_attack(name, data=source, fine_tune=tuning)
    assert attack.fine_tune == tuning
    for key, value in values.items():
        holders = (attack, attack.settings, attack.settings.recipe, attack.victim_recipe)
        own = key.removeprefix("victim_")
        assert any(getattr(h, key, None) == value for h in holders) or (
            getattr(attack.victim_recipe, own) == value
        )


@pytest.mark.parametrize("tuning", ["no", "last"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_larger_scale_computes_more(source, tuning):
    def work(name):
        a = make_attack(name, data=source, fine_tune=tuning)
        s = a.settings
        return s.models * s.craft_steps * s.recipe.epochs

    assert work("ci") < work("laptop") < work("gpu")
    victims = [make_attack(name, data=source).victims for name in SCALES]
    assert victims == sorted(victims)


def test_defaults_are_a_copy():
    defaults("digits", "ci")["models"] = 999
    assert scale.DIGITS["ci"]["models"] != 999


def test_named_sources_have_their_own_sizes_and_all_pictures_share_theirs():
    for name in SCALES:
        assert defaults("cifar10", name) == defaults("some/folder", name)
        own = [defaults(source, name) for source in (*scale.NAMED, "cifar10")]
        assert all(a != b for a, b in itertools.combinations(own, 2))


def test_what_is_fine_tuned_by_itself():
    found = {
        (data, scale): make_attack(scale, data=data).fine_tune
        for data in SOURCES
        for scale in SCALES
    }
    assert {found["signs", scale] for scale in SCALES} == {"last"}
    assert {found[data, scale] for data in ("digits", "fashion") for scale in SCALES} == {"no"}
    assert [found["cifar10", scale] for scale in SCALES] == ["last", "last", "no"]  # the paper's
    assert found["my-pictures.zip", "laptop"] == "last"


def test_a_network_that_does_not_ship_is_trained_from_scratch():
    made = make_attack("laptop", data="signs", network="mlp")
    assert (made.network, made.fine_tune) == ("mlp", "no")
    assert made.settings == make_attack("laptop", data="signs", fine_tune="no").settings
    assert make_attack("laptop", data="signs", network="convnet-small").fine_tune == "last"
    assert make_attack("laptop", data="signs", fine_tune="all").network == "convnet-small"


def test_a_method_brings_what_is_usual_with_it():
    brew = make_attack("gpu", data="cifar10", method="gradient-matching").settings
    assert (brew.restarts, brew.craft_steps, brew.signed) == (8, 2000, True)
    assert brew.craft_rate < 1
    small = make_attack("laptop", data="signs", method="gradient-matching").settings
    assert max(small.craft_decays) < small.craft_steps / small.restarts
    for method in STILL:
        assert make_attack("laptop", data="signs", method=method).settings.craft_steps == 1
    asked = make_attack("laptop", data="signs", method="bullseye", craft_steps=7).settings
    assert asked.craft_steps == 7
    tiny, usual = (make_attack("ci", data="signs", method=m).settings for m in ("bullseye", None))
    assert (tiny.craft_steps, tiny.models) == (usual.craft_steps, usual.models)


PHOTOGRAPHS = {"data": "cifar10", "fine_tune": "no"}


@pytest.mark.parametrize(
    ("given", "surrogates", "victims"),
    [
        ({}, (17,), (17,)),
        ({"epochs": 10}, (8,), (8,)),
        ({"epochs": 60}, (51,), (51,)),
        ({"epochs": 1}, (1,), (1,)),
        ({"victim_epochs": 40}, (17,), (34,)),
        ({"epochs": 60, "decays": (2,)}, (2,), (2,)),
        ({"victim_epochs": 40, "decays": (2,)}, (2,), (2,)),
        ({"victim_epochs": 40, "victim_decays": (3, 4)}, (17,), (3, 4)),
        ({"epochs": 60, "decays": ()}, (), ()),
    ],
)
def test_rates_fall_at_the_same_part_of_other_epochs(given, surrogates, victims):
    attack = make_attack("laptop", **PHOTOGRAPHS, **given)
    assert attack.settings.recipe.decays == surrogates
    assert attack.victim_recipe.decays == victims


@pytest.mark.parametrize(
    ("given", "decays"),
    [({}, (100, 150)), ({"victim_epochs": 20}, (10, 15)), ({"epochs": 12}, (100, 150))],
)
def test_those_of_the_victims_follow_their_own(given, decays):
    attack = make_attack("gpu", **PHOTOGRAPHS, **given)
    assert (attack.settings.recipe.decays, attack.victim_recipe.decays) == ((), decays)
