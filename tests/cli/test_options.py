"""Every setting has its flag, and values are read as people write them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from mpkit.__main__ import build_parser
from mpkit.cli import options
from mpkit.cli.options import flags as flags_there
from mpkit.cli.options import given
from mpkit.defenses.defense import Defense
from mpkit.recipe import Recipe
from mpkit.runs.attack import DEFENSE, Attack, make_attack
from mpkit.setting import Setting, settings_of
from mpkit.settings import Settings
from tests.cli.conftest import from_flags, refused

# A value for every setting, other than what it has by itself.
SAMPLES = {
    "data": "elsewhere", "n_train": 70, "n_test": 90, "max_train": 80, "max_test": 95,
    "classes": ("3", "8"), "size": 12, "noise": 0.25, "difficulty": 0.5, "target_class": "5",
    "target_index": (2, 0), "poison_class": "6", "adversarial_class": "7",
    "goal": "multi-class", "bases": "nearest", "budget": 0.05, "network": "convnet",
    "batch_norm": "batch", "fine_tune": "last", "weights": "w.safetensors", "victims": 3,
    "victim_fine_tune": "all", "victim_network": "convnet-bn", "device": "cpu",
    "method": "noise", "restarts": 3, "beta": 0.7, "opacity": 0.6,
    "against": "features", "against_quality": 40, "against_weight": 2.0,
    "epsilon": 0.07, "epsilon_c": 0.02, "unroll_steps": 4, "craft_steps": 5, "models": 7,
    "craft_rate": 0.3, "craft_warmup": 2, "craft_decays": (3, 4), "loss": "cross-entropy",
    "kappa": 9.5, "metagradient": "reverse", "average": "last", "poisoned_steps": "all",
    "surrogate_data": "clean", "stagger": False, "compute": "plain", "perturbation": "both",
    "signed": True, "seed": 11, "scenario": "dog-bird",
    "epochs": 9, "batch": 17, "lr": 0.05, "warmup": 1, "decays": (4, 6), "weight_decay": 5e-4,
    "momentum": 0.9, "augment": True, "flip": True,
}  # fmt: skip


def other(s: Setting) -> object:
    """A value that a setting may have, and does not have by itself."""
    if s.choices:
        return next(c for c in s.choices if c != s.default)
    if s.kind is bool:
        return not s.default
    some = (s.default + 1, s.default - 1) if s.kind is int else (s.default / 2, s.default * 2, 0.5)
    return next(v for v in some if v != s.default and s.holds(v))


SAMPLES |= {name: other(s) for name, s in settings_of(Defense).items()}


def names(kind: type) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)]


BESIDE = {
    "batch_norm": ["--network", "convnet-bn"],
    "weights": ["--network", "convnet-small", "--fine-tune", "last"],
}
"""What else must be asked for so that a flag acts."""


def as_flag(name: str, value: object) -> list[str]:
    text = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else str(value)
    if isinstance(value, tuple):
        text = ",".join(map(str, value))
    return [f"--{name.replace('_', '-')}", text]


def found(attack: Attack, name: str) -> object:
    """A setting by the name of its flag."""
    own = name.removeprefix("victim_")
    if own != name and own in names(Recipe):
        return getattr(attack.victim_recipe, own)
    if name in DEFENSE:
        return getattr(attack.defense, name)
    holders = (attack, attack.settings, attack.settings.recipe)
    return next(getattr(h, name) for h in holders if name in names(type(h)))


def every_setting() -> list[str]:
    """Every field there is, under the name its flag must have."""
    surrogates = [n for n in names(Recipe) if Recipe(**{n: SAMPLES[n]}).plain]
    own = [n for n in (*names(Attack), *names(Settings)) if n not in ("settings", "recipe")]
    own.remove("victim_recipe")
    own.remove("defense")
    return [*own, *DEFENSE, *surrogates, *(f"victim_{n}" for n in names(Recipe))]


OWN_SIZES = ["scenario"]
"""What has its own tests: it sets all the others, and no scale may stand beside it."""


@pytest.mark.parametrize("name", [n for n in every_setting() if n not in OWN_SIZES])
def test_every_setting_has_a_flag(name):
    value = SAMPLES.get(name, SAMPLES.get(name.removeprefix("victim_")))
    scratch = [] if name == "data" else ["--data", "digits"]  # which is not fine-tuned by itself
    if only := flags_there()[name].only:  # it acts beside some values of another setting alone
        scratch += as_flag(only[0], only[1][0])
    scratch += BESIDE.get(name, [])
    by_itself = from_flags(*scratch)
    assert found(by_itself, name) != value, "choose another sample"
    changed = from_flags(*scratch, *as_flag(name, value))
    assert found(changed, name) == value
    # And nothing else changes, but for victims, who follow the surrogates, and sizes of a scale.
    if name not in ("data", "fine_tune", "method"):  # which bring sizes of their own
        others = {n for n in every_setting() if n not in (name, f"victim_{name}")}
        assert all(found(changed, n) == found(by_itself, n) for n in others)


def test_settings_without_a_flag_are_those_that_settings_refuse():
    refused = [n for n in names(Recipe) if n not in every_setting()]
    assert refused
    assert not set(refused) & set(options.flags())
    for name in refused:
        with pytest.raises(ValueError, match="surrogates train by plain SGD"):
            Settings(recipe=Recipe(**{name: SAMPLES[name]}))


def test_a_scenario_is_a_flag_and_a_scale_beside_it_is_refused():
    said = ["attack", "--scenario", "dog-bird", "--models", "3"]
    attack = options.attack_from(build_parser().parse_args(said))
    assert attack == make_attack(scenario="dog-bird", models=3)
    assert "leave it out" in refused(*said, "--scale", "ci")
    assert "choose from quickstart, dog-bird" in refused(*said[:2], "cat").replace("'", "")


def test_every_flag_is_known_to_be_given():
    arguments = [t for n in every_setting() for t in as_flag(n, SAMPLES.get(n, SAMPLES.get(n[7:])))]
    parsed = build_parser().parse_args(["attack", "--scale", "ci", *arguments])
    assert set(given(parsed)) == {*every_setting(), "scale"}
    assert given(build_parser().parse_args(["attack"])) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.03", 0.03), ("8/255", 8 / 255), ("1e-2", 0.01), (" 8 / 255 ", 8 / 255), ("-1", -1)],
)
def test_numbers_may_be_fractions(text, value):
    assert options.number(text) == value


@pytest.mark.parametrize("text", ["", "x", "1/0", "1/", "/2", "1/2/3", "0x10"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no number"):
        options.number(text)


@pytest.mark.parametrize("text", ["", "x", "1.0", "1e3", "1/2"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no whole number"):
        options.whole(text)


def test_lists_have_commas():
    parse = options.several(options.whole)
    assert parse("20,40") == (20, 40)
    assert parse(" 20 , 40, ") == (20, 40)
    assert parse("") == ()
    assert options.several(str)("a b, 猫") == ("a b", "猫")
    with pytest.raises(argparse.ArgumentTypeError, match="'x' is no whole number"):
        parse("20,x")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--size 16", "--size does nothing with --data signs, only with digits"),
        ("--data fashion --noise 0.1", "--noise does nothing with --data fashion"),
        ("--data digits --difficulty 2", "--difficulty does nothing with --data digits"),
        ("--perturbation recolor --epsilon 8/255", "only with additive or both"),
        ("--epsilon-c 0.1", "--epsilon-c does nothing with --perturbation additive"),
        ("--loss cross-entropy --kappa 3", "--kappa does nothing with --loss cross-entropy"),
        ("--method noise --unroll-steps 3", "only with metapoison"),
        ("--method gradient-matching --kappa 3", "--kappa does nothing with --method gradient-m"),
        ("--method label-flip --epsilon 8/255", "--epsilon does nothing with --method label-flip"),
        ("--restarts 3", "--restarts does nothing with --method metapoison"),
        ("--suspected 0.2", "--suspected does nothing with --defense none, only with"),
        ("--defense loss --jpeg-quality 9", "--jpeg-quality does nothing with --defense loss"),
        ("--n-train 60 --max-train 90", "--max-train does nothing beside --n-train"),
        ("--n-test 60 --max-test 90", "--max-test does nothing beside --n-test"),
        ("--fine-tune no --weights cifar10-small", "--weights does nothing where all is trained"),
        ("--data digits --batch-norm batch", "--batch-norm does nothing where no batch norm"),
        ("--fine-tune last --batch-norm batch", "--batch-norm does nothing where no batch norm"),
    ],
)
def test_a_flag_that_does_nothing_is_refused(typed, words):
    with pytest.raises(ValueError, match=words):
        from_flags(*typed.split())


@pytest.mark.parametrize(
    "typed",
    [
        "--fine-tune all --batch-norm batch",
        "--data digits --victim-network convnet-bn --batch-norm batch",
        "--fine-tune no --network mlp --victim-network convnet-small --victim-fine-tune last "
        "--weights cifar10-small",
    ],
)
def test_a_flag_that_acts_on_victims_alone_is_taken(typed):
    from_flags(*typed.split())


def test_a_name_means_the_data_set_also_beside_a_folder_of_that_name(capsys):
    Path("digits").mkdir()
    assert from_flags("--data", "digits").data == "digits"
    assert "for yours say ./digits" in capsys.readouterr().err
    assert from_flags("--data", "./digits").data == "./digits"
    assert not capsys.readouterr().err


def test_a_path_that_the_shell_left_alone_begins_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    parse = build_parser().parse_args
    for flag in ("out", "resume", "json"):
        assert getattr(parse(["attack", f"--{flag}=~/x"]), flag) == str(tmp_path / "x")
    assert parse(["attack", "--out=./x"]).out == "./x"


def test_a_path_in_the_home_of_nobody_is_refused():
    line = refused("attack", "--out=~no-such-user/x")
    assert "there is no home folder ~no-such-user here" in line
