"""Who attacks whom: bases, targets, goals, refusals."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mpkit.data import Dataset
from mpkit.scenario import GOALS, Scenario, class_index, make_scenario
from tests.conftest import noise

NAMES = ("apple", "bee", "cat")


def dataset(labels, names=NAMES, seed: int = 0, size: int = 4) -> Dataset:
    """Random 8-bit pictures with the given labels."""
    shape = (len(labels), 1, size, size)
    x = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))
    return Dataset(x.float() / 255, torch.tensor(labels), names, "tiny")


# Classes are mixed and unequal: 5 apples, 8 bees, 7 cats of 20; of the test set 4, 3 and 5.
TRAIN = dataset([1, 0, 2, 1, 1, 2, 0, 1, 2, 2, 1, 0, 1, 2, 0, 1, 2, 0, 2, 1])

TEST = dataset([2, 0, 1, 0, 2, 1, 0, 2, 1, 0, 2, 2], seed=1)


def targeted(**given) -> Scenario:
    return make_scenario(TRAIN, TEST, **{"target_class": "apple", "poison_class": "bee"} | given)


# ── bases and targets ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_bases_are_the_first_images_of_the_poison_class(count):
    scenario = targeted(budget=count / 20)
    assert scenario.bases.tolist() == [0, 3, 4, 7, 10, 12, 15, 19][:count]
    assert scenario.bases.dtype == torch.int64
    assert torch.equal(scenario.base_images, TRAIN.x[scenario.bases])


def test_the_target_is_that_image_of_its_class_and_is_never_validated():
    for index, row in enumerate([1, 3, 6, 9]):
        scenario = targeted(target_index=index)
        assert scenario.target_rows == (row,)
        assert torch.equal(scenario.targets, TEST.x[[row]])
        assert scenario.target_labels.tolist() == [0]
        assert scenario.adversarial.tolist() == [1]
        others = [r for r in range(12) if r != row]
        assert torch.equal(scenario.validation.x, TEST.x[others])
        assert torch.equal(scenario.validation.y, TEST.y[others])


def test_several_targets_keep_the_order_asked_for():
    scenario = targeted(target_index=[3, 0])
    assert scenario.target_rows == (9, 1)
    assert torch.equal(scenario.targets, TEST.x[[9, 1]])
    assert scenario.target_labels.tolist() == [0, 0]
    assert scenario.adversarial.tolist() == [1, 1]
    assert len(scenario.validation) == 10


@pytest.mark.parametrize(
    "index",
    [np.int64(2), np.int32(2), torch.tensor(2), np.array(2), (2,), [np.int64(2)], range(2, 3),
     np.array([2]), torch.tensor([2])],
    ids=lambda i: f"{type(i).__name__}-{i}",
)  # fmt: skip
def test_any_kind_of_whole_number_chooses_a_target(index):
    assert targeted(target_index=index).target_rows == (6,)


def test_classes_by_name_and_by_number():
    assert [class_index(TRAIN, n) for n in NAMES] == [0, 1, 2]
    assert [class_index(TRAIN, n) for n in (0, "1", np.int64(2))] == [0, 1, 2]
    one, two = targeted(), make_scenario(TRAIN, TEST, 0, 1)
    assert torch.equal(one.bases, two.bases)
    assert one.target_rows == two.target_rows
    digits = dataset([0, 1, 2], ("7", "1", "0"))
    assert [class_index(digits, n) for n in ("7", "1", "0")] == [0, 1, 2]


@pytest.mark.parametrize("wanted", ["dog", "Apple", "", 3, -1, "-1", None, 1.0, "²", "1.5", True])
def test_unknown_classes_are_refused_with_the_known_ones(wanted):
    with pytest.raises(ValueError, match="is unknown; there are: apple, bee, cat") as error:
        class_index(TRAIN, wanted)
    assert repr(wanted) in str(error.value)
    with pytest.raises(ValueError, match="is unknown"):
        targeted(target_class=wanted)


# ── the three goals ─────────────────────────────────────────────────────────────────────────────


def test_targeted_wants_the_poison_class_or_another():
    assert targeted().goal == "targeted"
    scenario = targeted(adversarial_class="cat", target_index=[0, 1])
    assert scenario.adversarial.tolist() == [2, 2]
    assert set(TRAIN.y[scenario.bases].tolist()) == {1}


@pytest.mark.parametrize("poison", [None, "apple"])
def test_self_concealment_poisons_the_targets_own_class(poison):
    scenario = targeted(goal="self-concealment", poison_class=poison, budget=0.15)
    assert scenario.bases.tolist() == [1, 6, 11]
    assert scenario.adversarial.tolist() == scenario.target_labels.tolist() == [0]


@pytest.mark.parametrize("count", [1, 3, 4, 6, 15, 18, 20])
def test_multi_class_takes_bases_evenly_from_all(count):
    scenario = targeted(
        goal="multi-class", poison_class=None, adversarial_class="bee", budget=count / 20
    )
    queues = [[r for r in range(20) if TRAIN.y[r] == c] for c in range(3)]
    expected = []
    while len(expected) < count:  # a round: one of each class that has any left
        for queue in queues:
            if queue and len(expected) < count:
                expected.append(queue.pop(0))
    assert scenario.bases.tolist() == expected
    assert scenario.adversarial.tolist() == [1]


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"goal": "fame"}, "'fame' is unknown; there are: targeted, self-concealment, multi-class"),
        ({"budget": 0}, "above 0 and at most 1, not 0"),
        ({"budget": -0.1}, "above 0 and at most 1, not -0.1"),
        ({"budget": 1.01}, "above 0 and at most 1, not 1.01"),
        ({"budget": math.nan}, "above 0 and at most 1, not nan"),
        ({"budget": 0.02}, r"0\.02 of 20 images is less than one poison; use at least 0\.05"),
        ({"budget": 0.45}, r"9 poisons, but class bee has only 8 of the 20 .* at most 0\.4$"),
        ({"goal": "self-concealment", "poison_class": None, "budget": 0.3}, "apple has only 5"),
        ({"poison_class": None}, "needs a poison class"),
        ({"poison_class": "apple"}, r"poison class must differ .*\(apple\).*self-concealment"),
        ({"adversarial_class": "apple"}, r"adversarial class must differ .*\(apple\)"),
        ({"goal": "self-concealment"}, r"own class \(apple\).* leave poison class"),
        (
            {"goal": "self-concealment", "poison_class": None, "adversarial_class": "cat"},
            "leave poison class and adversarial class out",
        ),
        ({"goal": "multi-class", "adversarial_class": "cat"}, "no poison class"),
        ({"goal": "multi-class", "poison_class": None}, "name the adversarial class"),
        (
            {"goal": "multi-class", "poison_class": None, "adversarial_class": "apple"},
            "adversarial class must differ",
        ),
        ({"target_index": 4}, "target 4 of class apple does not exist; the test set has 0 … 3"),
        ({"target_index": [0, 9]}, "target 9 of class apple"),
        ({"target_index": -1}, "target -1 of class apple"),
        ({"target_index": []}, r"one or more different numbers, not \[\]"),
        ({"target_index": [1, 1]}, r"one or more different numbers, not \[1, 1\]"),
        ({"target_index": torch.tensor([1, 1])}, r"different numbers, not \[1, 1\]"),
        ({"target_index": 0.5}, "target 0.5 of class apple does not exist"),
        ({"target_index": [0.5]}, "target 0.5 of class apple does not exist"),
        ({"target_index": "1"}, "target '1' of class apple does not exist"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        targeted(**given)


def test_a_class_without_a_test_image_has_no_target():
    test = TEST.subset(TEST.y != 0)
    with pytest.raises(ValueError, match="test set has no image of class apple"):
        make_scenario(TRAIN, test, "apple", "bee")


@pytest.mark.parametrize("names", [("cat", "bee", "apple"), (*NAMES, "dog")])
def test_training_and_test_set_must_mean_the_same_by_a_label(names):
    with pytest.raises(ValueError, match="the same classes in the same order"):
        make_scenario(TRAIN, dataset(TEST.y.tolist(), names), "apple", "bee")


@pytest.mark.parametrize(
    "counts", [*[(n, n, n) for n in range(1, 20)], (9, 7, 9), (43_827, 6_173, 0)]
)
def test_the_budget_that_a_refusal_proposes_is_accepted(counts):
    train = dataset([c for c in range(3) for _ in range(counts[c])], size=1)
    for budget, expected in ((1e-9, 1), (1.0, counts[1])):
        with pytest.raises(ValueError, match="use") as error:
            make_scenario(train, TEST, "apple", "bee", budget=budget)
        proposed = float(str(error.value).rsplit(maxsplit=1)[1])
        scenario = make_scenario(train, TEST, "apple", "bee", budget=proposed)
        assert len(scenario.bases) == expected


# ── what a scenario knows ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("goal", GOALS)
def test_slots_say_which_poison_stands_where(goal):
    given = {"goal": goal}
    if goal != "targeted":
        given["poison_class"] = None
    if goal == "multi-class":
        given["adversarial_class"] = "cat"
    scenario = targeted(**given, budget=0.25)
    assert scenario.slots.dtype == torch.int64
    bases = scenario.bases.tolist()
    for row, slot in enumerate(scenario.slots.tolist()):
        assert slot == (bases.index(row) if row in bases else 5)


def test_poisoned_changes_the_bases_rows_and_no_other():
    scenario, before = targeted(budget=0.3), TRAIN.x.clone()
    poisons = torch.rand(6, 1, 4, 4, dtype=torch.float64)
    found = scenario.poisoned(poisons)
    assert found.dtype == torch.float32
    for row in range(20):
        slot = scenario.slots[row]
        expected = poisons[slot].float() if slot < 6 else before[row]
        assert torch.equal(found[row], expected)
    assert torch.equal(TRAIN.x, before)


def test_8_bit_pictures_are_not_taken_for_pixels_in_0_to_1():
    scenario = targeted()
    with pytest.raises(ValueError, match=r"in \[0, 1\], not torch.uint8"):
        scenario.poisoned(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (3, 1, 4, 4), (2, 1, 4, 5), (2, 3, 4, 4)])
def test_poisons_of_another_shape_do_not_fit(shape):
    with pytest.raises((RuntimeError, IndexError)):
        targeted().poisoned(torch.zeros(shape))


def test_success():
    scenario = targeted(target_index=[0, 1], adversarial_class="cat")
    logits = F.one_hot(torch.tensor([[0, 1], [2, 0], [1, 2], [2, 2]]), 3).float()
    assert scenario.succeeded(logits).tolist() == [
        [False, False], [True, False], [False, True], [True, True]
    ]  # fmt: skip
    hidden = targeted(target_index=[0, 1], poison_class=None, goal="self-concealment")
    assert hidden.succeeded(logits).tolist() == [
        [False, True], [True, False], [True, True], [True, True]
    ]  # fmt: skip


def test_a_tie_and_what_is_no_number_are_no_success():
    nan, inf = float("nan"), float("inf")
    logits = torch.tensor([[0.0, 0, 0], [1, 1, 0], [nan, 0, 0], [0, nan, 0], [inf, 0, 0]])[:, None]
    # argmax names apple, the first, which is wanted here; and below that is as good as another.
    assert not targeted(target_class="cat", poison_class="apple").succeeded(logits).any()
    hidden = [targeted(target_class=c, poison_class=None, goal="self-concealment") for c in NAMES]
    told = [scenario.succeeded(logits)[:, 0].tolist() for scenario in hidden]
    assert told == [[False] * 5, [False] * 5, [False, True, False, False, False]]


def test_a_scenario_moves_whole():
    scenario = targeted(target_index=[0, 1])
    moved = scenario.to(torch.device("meta"))
    for field in dataclasses.fields(Scenario):
        value, old = getattr(moved, field.name), getattr(scenario, field.name)
        if isinstance(value, Dataset):
            assert value.x.device.type == value.y.device.type == "meta"
        elif isinstance(value, torch.Tensor):
            assert value.device.type == "meta"
        else:
            assert value == old
    assert moved.slots.device.type == "meta"
    same = scenario.to(torch.device("cpu"))
    assert torch.equal(same.targets, scenario.targets)
    assert torch.equal(same.slots, scenario.slots)


NOISE, MORE_NOISE = noise(30, 0), noise(15, 1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget": 0}, "above 0"),
        ({"budget": 0.001}, "less than one poison"),
        ({"budget": 0.9}, "has only 10"),
        ({"poison_class": "a"}, "must differ"),
        ({"adversarial_class": "a"}, "must differ"),
        ({"target_class": "z"}, "there are: a, b, c"),
        ({"target_index": 5}, "0 … 4"),
        ({"target_index": []}, "one or more"),
        ({"goal": "fame"}, "targeted, self-concealment"),
        ({"goal": "self-concealment"}, "leave poison class"),
        ({"goal": "multi-class"}, "no poison class"),
        ({"poison_class": None}, "needs a poison class"),
    ],
)
def test_scenarios_that_make_no_sense(given, words):
    with pytest.raises(ValueError, match=words):
        make_scenario(NOISE, MORE_NOISE, **{"target_class": "a", "poison_class": "b"} | given)


def test_multi_class_takes_bases_from_every_class():
    s = make_scenario(NOISE, MORE_NOISE, "a", adversarial_class="c", budget=0.2, goal="multi-class")
    assert NOISE.y[s.bases].bincount().tolist() == [2, 2, 2]
