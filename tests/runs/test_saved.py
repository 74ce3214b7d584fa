"""An attack to JSON and back, and the names of run folders."""

from __future__ import annotations

import json

import pytest

from mpkit.runs.attack import DEFENSE, Attack, make_attack
from mpkit.runs.saved import from_dict, to_dict
from tests.conftest import tuned_attack
from tests.runs.conftest import random_attack

# ── as a value ──────────────────────────────────────────────────────────────────────────────────


def test_an_attack_comes_back_from_json():
    seen = set()
    for seed in range(200):
        given = random_attack(seed)
        text = json.dumps(to_dict(given))
        back = from_dict(json.loads(text))
        assert back == given
        assert hash(back) == hash(given)  # lists would have no hash
        assert json.dumps(to_dict(back)) == text
        seen.add(given)
    assert len(seen) == 200


def test_reading_an_attack_leaves_the_dictionary_as_it_was():
    values = json.loads(json.dumps(to_dict(random_attack(0))))
    before = json.dumps(values)
    from_dict(values)
    assert json.dumps(values) == before


def test_what_was_written_without_a_name_of_data_is_of_the_digits():
    for data in ("digits", "signs"):
        values = to_dict(make_attack("ci", data=data))
        assert values["data"] == data  # whatever the default
        assert from_dict({k: v for k, v in values.items() if k != "data"}).data == "digits"


def test_settings_that_are_unknown_or_missing_are_refused():
    for path in ((), ("settings",), ("settings", "recipe"), ("victim_recipe",), ("defense",)):
        values = json.loads(json.dumps(to_dict(Attack())))
        inner = values
        for key in path:
            inner = inner[key]
        inner["later"] = 1
        with pytest.raises(TypeError, match="later"):
            from_dict(values)


ADDED = {"data", "difficulty", "fine_tune", "weights", "victim_fine_tune", "compute"}
ADDED |= {"method", "restarts", "beta", "opacity", "bases"}
ADDED |= {"against", "against_quality", "against_weight", "scenario"}
ADDED |= {"defense", *DEFENSE}


def leaves(values: dict, way: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = [leaves(v, (*way, k)) for k, v in values.items() if isinstance(v, dict)]
    return [(*way, k) for k in values] + [leaf for part in inner for leaf in part]


def test_only_what_came_later_may_be_missing():
    whole, seen = to_dict(Attack()), set()
    for way in leaves(whole):
        values = json.loads(json.dumps(whole))
        inner = values
        for key in way[:-1]:
            inner = inner[key]
        del inner[way[-1]]
        if way[-1] in ADDED:
            assert from_dict(values) == Attack(data=values.get("data", "digits"))
            seen.add(way[-1])
            continue
        with pytest.raises(KeyError, match=way[-1]):
            from_dict(values)
    assert seen == ADDED


def test_values_out_of_range_are_refused_when_read_too():
    values = to_dict(Attack())
    with pytest.raises(ValueError, match="epsilon must lie between 0 and 1, not 7"):
        from_dict(values | {"settings": values["settings"] | {"epsilon": 7}})
    with pytest.raises(ValueError, match="victims must be at least 1, not 0"):
        from_dict(values | {"victims": 0})


def test_what_gradient_matching_was_called_once_is_that_method():
    values = json.loads(json.dumps(to_dict(Attack())))
    values["settings"]["metagradient"] = "matching"
    for name in ("method", "restarts", "beta", "opacity"):
        del values["settings"][name]
    found = from_dict(values).settings
    assert (found.method, found.metagradient) == ("gradient-matching", "auto")


# ── drawn attacks, and names of folders ─────────────────────────────────────────────────────────


# ── the attack ───────────────────────────────────────────────────────────────────────────────────


def test_an_old_attack_without_these_settings_means_from_scratch():
    values = json.loads(json.dumps(to_dict(Attack())))
    for name in ("fine_tune", "weights", "victim_fine_tune"):
        del values[name]
    assert from_dict(values).fine_tune == "no"
    assert from_dict(json.loads(json.dumps(to_dict(tuned_attack())))) == tuned_attack()
