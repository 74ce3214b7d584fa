"""An attack as one value: from flat names, to JSON and back, and run from beginning to end."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import random
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest
import torch

from mpkit.cli.options import flags
from mpkit.data import DEFAULT_DATA, load_dataset
from mpkit.data.faces import USUAL_SIGNS
from mpkit.data.fashion import CLASSES
from mpkit.device import Plan
from mpkit.evaluation import VictimRecord, noise_poisons, train_victims
from mpkit.finetuning import FINE_TUNE
from mpkit.metagradient import METAGRADIENTS
from mpkit.metapoison import craft, poisons_of
from mpkit.networks import NETWORKS, network
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.runs import pairs as attacks
from mpkit.runs.attack import RECIPE, SETTINGS, Attack, make_attack
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import load_scenario, prepare
from mpkit.runs.saved import from_dict, run_folder, to_dict
from mpkit.runs.scale import SCALES, defaults, usual_tuning
from mpkit.scenario import GOALS
from mpkit.settings import Settings
from mpkit.tally import tallies
from mpkit.tracing import WAYS
from mpkit.verdict import ARMS

TINY = {
    "data": "digits", "size": 10, "n_train": 60, "models": 2, "craft_steps": 2, "epochs": 2,
    "victims": 2, "batch": 20, "unroll_steps": 2, "target_index": (0,),
}  # fmt: skip
NAMES = tuple("0123456789")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_surroundings(cache, monkeypatch):
    monkeypatch.setenv("MPKIT_DATA", str(cache))
    monkeypatch.delenv("MPKIT_SCALE", raising=False)


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


@pytest.mark.parametrize("epsilon", [1e-6, 0.5 / 255, 0.0039])
def test_an_epsilon_that_no_picture_can_show_is_refused(epsilon):
    with pytest.raises(ValueError, match=rf"^epsilon {epsilon:.4g} .* smallest step is 1/255"):
        Attack(settings=Settings(epsilon=epsilon))
    # It bounds the colours of nothing, and beside a colour change it may still tip a pixel.
    for perturbation in ("recolor", "both"):
        assert Attack(settings=Settings(epsilon=epsilon, perturbation=perturbation))
    assert make_attack("ci", epsilon=1 / 255).settings.epsilon == 1 / 255


# ── from flat names ─────────────────────────────────────────────────────────────────────────────


def flat(attack: Attack) -> dict[str, object]:
    """Each value of an attack under the one name that make_attack knows it by."""
    top = {f.name: getattr(attack, f.name) for f in dataclasses.fields(Attack)}
    settings, victim = top.pop("settings"), top.pop("victim_recipe")
    top |= {name: getattr(settings, name) for name in SETTINGS}
    top |= {name: getattr(settings.recipe, name) for name in RECIPE}
    return top | {f"victim_{name}": getattr(victim, name) for name in RECIPE}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", SCALES)
def test_every_flat_name_finds_its_place(seed, scale):
    wanted = random_attack(seed)
    given = {k: v for k, v in flat(wanted).items() if v is not None}
    made = flat(make_attack(scale, **given))
    assert {k: made[k] for k in given} == given


def test_the_flat_names_are_all_the_fields():
    kinds = {"settings", "recipe", "victim_recipe"}
    fields = [f.name for kind in (Attack, Settings, Recipe) for f in dataclasses.fields(kind)]
    assert len(set(fields)) == len(fields), "two fields of one name: make_attack can't tell them"
    assert set(fields) - kinds == {k for k in flat(Attack()) if k in fields}
    assert not {f"victim_{name}" for name in RECIPE} & set(fields)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("data", ["digits", "signs", "fashion", "cifar10"])
def test_what_is_not_given_comes_from_the_scale_then_from_the_defaults(data, scale):
    made = flat(make_attack(scale, data=data, models=None))
    scaled = defaults(data, scale, usual_tuning(data, scale))
    for name, value in flat(Attack(data=data)).items():
        own = name.removeprefix("victim_")
        # Victims train as surrogates do where nothing else is said.
        by_default = scaled.get(own, value) if name.removeprefix("victim_") in RECIPE else value
        assert made[name] == scaled.get(name, by_default), name
    assert make_attack(scale, data=data, models=5).settings.models == 5


def test_one_constant_says_which_data_are_the_default():
    assert inspect.signature(load_dataset).parameters["source"].default == DEFAULT_DATA
    for scale in SCALES:
        assert make_attack(scale) == make_attack(scale, data=DEFAULT_DATA)
    assert Attack().data == DEFAULT_DATA
    assert f"({DEFAULT_DATA})" in flags()["data"].text


def test_victims_follow_the_surrogates_unless_told_otherwise():
    made = make_attack("ci", epochs=7, lr=0.2, decays=(3,), victim_lr=0.05, victim_momentum=0.9)
    assert (made.victim_recipe.epochs, made.victim_recipe.decays) == (7, (3,))
    assert (made.victim_recipe.lr, made.settings.recipe.lr) == (0.05, 0.2)
    assert (made.victim_recipe.momentum, made.settings.recipe.momentum) == (0.9, 0.0)


def test_the_scale_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    assert make_attack() == make_attack("ci") != make_attack("laptop")
    monkeypatch.setenv("MPKIT_SCALE", "huge")
    with pytest.raises(ValueError, match="MPKIT_SCALE"):
        make_attack()


@pytest.mark.parametrize(("there", "device"), [(True, None), (True, "cpu"), (False, None)])
def test_the_scale_follows_the_device(there, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    scale = "gpu" if there and device != "cpu" else "laptop"
    assert make_attack(device=device) == make_attack(scale, device=device)


@pytest.mark.parametrize("wrong", ["epsilons", "victim_", "recipe_lr", "victim_models"])
def test_an_unknown_name_is_refused(wrong):
    with pytest.raises(TypeError, match=wrong):
        make_attack("ci", **{wrong: 1})


# ── who attacks whom ────────────────────────────────────────────────────────────────────────────


def classes(**given) -> tuple[str, str]:
    """(target, poison) as names."""
    s = load_scenario(make_attack("ci", **TINY | given))
    poison = s.train.y[s.bases].unique()
    return s.train.classes[s.target_labels[0]], s.train.classes[poison] if len(poison) == 1 else "*"


@pytest.fixture
def two_pairs(monkeypatch):
    """Of our own, since those of the library are searched for and may change."""
    monkeypatch.setattr(attacks, "PAIRS", (("5", "2"), ("3", "8")))


def test_classes_that_are_left_out_differ_always(two_pairs):
    for target in (None, *"3809"):
        for poison in (None, *"3809"):
            if target != poison or target is None:
                a, b = classes(target_class=target, poison_class=poison)
                assert a != b
                assert target in (None, a)
                assert poison in (None, b)
    # The first pair that fits.
    assert classes() == ("5", "2")
    assert classes(poison_class="2") == ("5", "2")
    assert classes(poison_class="9") == ("5", "9")
    assert classes(target_class="3") == ("3", "8")
    assert classes(target_class="3", poison_class="5") == ("3", "5")


def test_classes_that_are_left_out_come_from_those_that_are_kept(two_pairs):
    assert classes(classes=("2", "1", "5")) == ("5", "2")
    assert classes(classes=("7", "1", "5")) == ("7", "5")
    assert classes(classes=("8", "3")) == ("3", "8")
    assert classes(classes=("8", "3"), target_class="8") == ("8", "3")


def test_the_other_goals_choose_their_own_classes(two_pairs):
    assert classes(goal="self-concealment") == ("5", "5")
    assert classes(goal="self-concealment", target_class="4") == ("4", "4")
    assert classes(goal="multi-class", adversarial_class="8") == ("5", "*")


@pytest.mark.parametrize("data", ["digits", "signs", "fashion", "cifar10"])
def test_there_is_a_pair_for_every_source(data):
    names = {
        "digits": NAMES,
        "signs": USUAL_SIGNS,
        "fashion": CLASSES,
        "cifar10": ("airplane", "bird", "dog", "frog"),
    }[data]
    assert any(set(pair) <= set(names) for pair in attacks.PAIRS)
    assert all(target != poison for target, poison in attacks.PAIRS)


def test_several_targets_and_another_adversarial_class():
    given = make_attack(
        "ci",
        **TINY | {"target_index": (4, 0)},
        target_class="1",
        poison_class="2",
        adversarial_class="7",
    )
    s = load_scenario(given)
    assert s.adversarial.tolist() == [7, 7]
    assert s.target_labels.tolist() == [1, 1]
    assert s.target_rows[0] > s.target_rows[1]


def test_the_data_are_what_was_asked_for():
    s = load_scenario(make_attack("ci", **TINY | {"n_test": 30, "classes": ("4", "9", "0")}))
    assert s.train.shape == (1, 10, 10)
    assert (len(s.train), len(s.validation)) == (60, 29)
    assert s.train.classes == ("4", "9", "0")
    clean = load_scenario(make_attack("ci", **TINY | {"noise": 0}))
    noisy = load_scenario(make_attack("ci", **TINY))
    assert torch.equal(clean.train.y, noisy.train.y)
    assert not torch.equal(clean.train.x, noisy.train.x)


# ── a whole run ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def run(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPKIT_DATA", str(cache))
        ready = prepare(make_attack("ci", **TINY, victim_lr=0.3, victim_network="convnet"))
        steps = list(ready.craft())
        poisons = poisons_of(ready.scenario, steps[-1][0], ready.attack.settings)
        return ready, steps, poisons, list(ready.judge(poisons))


def test_a_run_is_what_the_library_does(run):
    ready, steps, poisons, judged = run
    s, settings = ready.scenario, ready.attack.settings
    surrogate = network("mlp", s.train.shape, 10)
    alone = list(craft(s, surrogate, settings, None, ready.plan))
    assert [r.losses for _, r in alone] == [r.losses for _, r in steps]
    assert torch.equal(poisons_of(s, alone[-1][0], settings), poisons)

    pictures = {
        "poisoned": s.poisoned(poisons.float() / 255),
        "clean": s.train.x,
        "noise": s.poisoned(noise_poisons(s, settings.epsilon, settings.seed).float() / 255),
    }
    recipe = Recipe(epochs=2, batch=20, lr=0.3)
    victim = network("convnet", s.train.shape, 10, fused=True)
    seed, plan = settings.seed, ready.victim_plan
    found = train_victims(s, victim, recipe, pictures, victims=2, seed=seed, plan=plan)
    assert list(found) == judged


def test_a_run_goes_on_from_any_state(run):
    ready, steps, *_ = run
    (state, record), *rest = ready.craft(steps[0][0])
    assert not rest
    assert record.losses == steps[1][1].losses
    assert torch.equal(state.parameters["delta"], steps[1][0].parameters["delta"])


def test_arms_may_be_left_out(run):
    ready, _, poisons, judged = run
    *_, (_, records) = ready.judge(poisons, arms=("clean",))
    assert [r.arm for r in records] == ["clean", "clean"]
    # Beside other arms or alone: another stacking of the same sums.
    wanted = [r for r in judged[-1][1] if r.arm == "clean"]
    assert [r.predicted for r in records] == [r.predicted for r in wanted]
    for found, other in zip(records, wanted, strict=True):
        assert found.true_probability == pytest.approx(other.true_probability, rel=1e-4)


def test_plans_that_are_given_are_kept(monkeypatch):
    monkeypatch.setattr("mpkit.runs.prepared.plan_for", None)
    plans = Plan(2, 1), Plan(1, 2)
    ready = prepare(make_attack("ci", **TINY), True, *plans)
    assert (ready.plan, ready.victim_plan) == plans


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="device 'vulkan' is not here"):
        prepare(make_attack("ci", **TINY, device="vulkan"))


def test_no_victims_are_refused():
    with pytest.raises(ValueError, match="victims must be at least 1, not 0"):
        make_attack("ci", victims=0)


def test_rates_and_accuracies_are_counted_arm_by_arm():
    draw = random.Random(0)
    records = [
        VictimRecord(arm, v, (0, 1), (draw.random() < 0.5, draw.random() < 0.5), (), (), v / 7)
        for arm in ("noise", "poisoned")
        for v in range(5)
    ]
    found = tallies(records)
    assert list(found) == ["poisoned", "noise"]  # in the order of ARMS, and none that is not there
    assert set(found) < set(ARMS)
    for arm, values in found.items():
        won = sum(s for r in records if r.arm == arm for s in r.success)
        assert (values["success"]["successes"], values["success"]["n"]) == (won, 10)
        # Wilson's interval: where |p − won/n| is 1.96 standard errors of p.
        for p in (values["success"]["low"], values["success"]["high"]):
            assert abs(p - won / 10) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 10), 1e-4)
        assert values["accuracy"] == pytest.approx(2 / 7)
    json.dumps(found)


# ── drawn attacks, and names of folders ─────────────────────────────────────────────────────────


def test_pairs_are_drawn_by_the_seed_alone():
    random.seed(1)
    first = draw_pairs(NAMES, 50, seed=3)
    random.seed(2)
    assert draw_pairs(NAMES, 50, seed=3) == first
    assert draw_pairs(NAMES, 50, seed=4) != first
    assert draw_pairs(NAMES, 20, seed=3) == first[:20]  # a longer sweep extends a shorter one


def test_a_target_is_never_of_the_poison_class():
    for names in (("a", "b"), NAMES):
        for seed in range(50):
            for target, poison, index in draw_pairs(names, 10, seed, targets=7):
                assert target != poison
                assert {target, poison} <= set(names)
                assert 0 <= index < 7


def test_no_pair_is_drawn_twice():
    for seed in range(20):
        assert len(set(draw_pairs(("a", "b", "c"), 12, seed, targets=2))) == 12
    with pytest.raises(ValueError, match="at most 12, as many as there are, not 13"):
        draw_pairs(("a", "b", "c"), 13, 0, targets=2)


def test_pairs_are_drawn_evenly():
    found = Counter(p[:2] for s in range(300) for p in draw_pairs(("a", "b", "c"), 20, s))
    assert set(found) == set(permutations("abc", 2))
    assert max(found.values()) < 1.2 * min(found.values())  # 1000 of each, ± 30
    indices = Counter(p[2] for s in range(300) for p in draw_pairs(NAMES, 20, s, targets=3))
    assert set(indices) == {0, 1, 2}
    assert max(indices.values()) < 1.15 * min(indices.values())


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
