"""An attack to JSON and back, and the names of run folders."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest

from mpkit.finetuning import (
    FINE_TUNE,
)
from mpkit.metagradient import METAGRADIENTS
from mpkit.networks import NETWORKS
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.saved import from_dict, run_folder, to_dict
from mpkit.scenario import GOALS
from mpkit.settings import Settings
from mpkit.tracing import WAYS
from tests.conftest import tuned_attack

# ── as a value ──────────────────────────────────────────────────────────────────────────────────


def random_attack(seed: int) -> Attack:
    """Any attack at all: every field of it is drawn, so that none can be forgotten."""
    draw = random.Random(seed)

    def some(field: dataclasses.Field, of: type):
        choices = {
            "goal": GOALS, "network": tuple(NETWORKS), "victim_network": (None, *NETWORKS),
            "batch_norm": ("running", "batch"), "loss": ("margin", "cross-entropy"),
            "metagradient": tuple(METAGRADIENTS), "average": ("mean", "last"),
            "poisoned_steps": ("first", "all"), "surrogate_data": ("poisoned", "clean"),
            "perturbation": tuple(PERTURBATIONS), "compute": WAYS, "device": ("auto", "cpu"),
            "data": ("digits", "my data/图.zip"), "classes": (None, ("a,b", "猫"), ("3", "8", "5")),
            "target_index": (None, (0,), (3, 1, 4)),
            "fine_tune": FINE_TUNE, "victim_fine_tune": (None, *FINE_TUNE),
        }  # fmt: skip
        if field.name in ("settings", "recipe", "victim_recipe"):
            return filled({"settings": Settings}.get(field.name, Recipe), plain=of is Settings)
        if field.name in choices:
            return draw.choice(choices[field.name])
        kind = str(field.type)
        if kind.startswith("tuple"):
            return tuple(sorted(draw.sample(range(50), draw.randrange(4))))
        if kind == "bool":
            return draw.random() < 0.5
        if kind == "float":
            return draw.uniform(0.01, 0.999)
        if "None" in kind and draw.random() < 0.3:
            return None
        return draw.choice(("3", "猫", "a b")) if "str" in kind else draw.randint(1, 60)

    def filled(of: type, plain: bool = False):
        values = {f.name: some(f, of) for f in dataclasses.fields(of)}
        if of is Recipe and plain:  # what Settings wants of its recipe
            values |= {"weight_decay": 0.0, "momentum": 0.0, "augment": False, "flip": False}
        tunings = values.get("fine_tune"), values.get("victim_fine_tune")
        if "last" in tunings:  # a last layer takes no augmentation
            recipe = dataclasses.replace(values["victim_recipe"], augment=False, flip=False)
            return of(**values | {"victim_recipe": recipe})
        return of(**values)

    return filled(Attack)


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
    for path in ((), ("settings",), ("settings", "recipe"), ("victim_recipe",)):
        values = json.loads(json.dumps(to_dict(Attack())))
        inner = values
        for key in path:
            inner = inner[key]
        inner["later"] = 1
        with pytest.raises(TypeError, match="later"):
            from_dict(values)
    for key in ("settings", "victim_recipe"):
        with pytest.raises(KeyError, match=key):
            from_dict({k: v for k, v in to_dict(Attack()).items() if k != key})


def test_values_out_of_range_are_refused_when_read_too():
    values = to_dict(Attack())
    with pytest.raises(ValueError, match="epsilon must lie between 0 and 1, not 7"):
        from_dict(values | {"settings": values["settings"] | {"epsilon": 7}})
    with pytest.raises(ValueError, match="victims must be at least 1, not 0"):
        from_dict(values | {"victims": 0})


# ── drawn attacks, and names of folders ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "digits-targeted-seed0"),
        ({"target_class": "3", "poison_class": "8", "seed": 7}, "digits-3-as-8-seed7"),
        ({"target_class": "3", "adversarial_class": "5"}, "digits-3-as-5-seed0"),
        ({"goal": "self-concealment", "target_class": "3"}, "digits-self-concealment-seed0"),
        ({"data": "/a b/my pets.zip"}, "my_pets-targeted-seed0"),
        ({"target_class": "../x", "poison_class": "a/b"}, "digits-.._x-as-a_b-seed0"),
        ({"target_class": "猫", "poison_class": "Kätzchen"}, "digits-猫-as-Kätzchen-seed0"),
    ],
)
def test_the_name_of_a_run_says_when_and_what_and_is_one_folder(given, name):
    attack = make_attack("ci", **{"data": "digits"} | given)
    folder = run_folder(attack, "20260102-030405", Path("parent"))
    assert folder == Path("parent") / f"20260102-030405-{name}"


# ── the attack ───────────────────────────────────────────────────────────────────────────────────


def test_an_old_attack_without_these_settings_means_from_scratch():
    values = json.loads(json.dumps(to_dict(Attack())))
    for name in ("fine_tune", "weights", "victim_fine_tune"):
        del values[name]
    assert from_dict(values).fine_tune == "no"
    assert from_dict(json.loads(json.dumps(to_dict(tuned_attack())))) == tuned_attack()
