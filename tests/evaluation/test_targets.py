"""Who is a target: the votes, the thirds, the rule."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from mpkit.evaluation import targets
from mpkit.evaluation.margins import known_margins, measure
from mpkit.evaluation.targets import MODELS, Margins, default_target
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import clean_setup, load_scenario, prepare
from mpkit.scenario import make_scenario
from tests.conftest import SMALL_DIGITS

pytestmark = pytest.mark.usefixtures("nothing_known")


def voted(*votes: list[int], margins: list[float] | None = None) -> Margins:
    """Pictures of class 0 of three, with these votes and margins for class 1."""
    margin = torch.zeros(len(votes), 3)
    margin[:, 1] = torch.tensor(margins or [1.0] * len(votes))
    return Margins(margin, torch.tensor(votes), torch.zeros(len(votes), dtype=torch.long))


@pytest.mark.parametrize(
    ("votes", "why"),
    [
        ([8, 0, 0], ""),
        ([5, 3, 0], ""),
        ([4, 4, 0], ""),  # a tie: half get it wrong, which is not most
        ([4, 0, 4], ""),
        ([3, 0, 5], "5 of 8 clean models get it wrong"),
        ([3, 2, 3], "5 of 8 clean models get it wrong"),
        ([3, 5, 0], "5 of 8 clean models already give it the adversarial class"),
        ([0, 8, 0], "8 of 8 clean models already give it the adversarial class"),
        ([0, 4, 4], "8 of 8 clean models get it wrong"),
    ],
)
def test_no_target_is_what_most_models_get_wrong(votes, why):
    (found,) = voted(votes).targets(0, 1)
    assert found.why == why
    assert (found.third is None) == bool(why)
    assert bool(targets.misleading(found)) == bool(why)
    assert why in targets.misleading(found)


def test_a_model_that_diverged_gives_no_class():
    z = torch.zeros(MODELS, 1, 3)
    z[:, :, 0] = 5
    assert measure(z, torch.tensor([0])).votes.tolist() == [[8, 0, 0]]
    z[:4] = torch.nan
    found = measure(z, torch.tensor([0]))
    assert found.votes.tolist() == [[4, 0, 0]]
    (told,) = found.targets(0, 1)
    assert "diverged" in told.why
    assert told.margin is None
    assert str(told) == f"no clean margin, no target: {told.why}"
    with pytest.raises(ValueError, match="lower --lr, --victim-lr or --victim-weight-decay"):
        default_target(found.targets(0, 1), "a", "b")


@pytest.mark.parametrize("n", range(1, 14))
def test_the_thirds_are_equal_but_for_one(n):
    draw = torch.rand(n, generator=torch.Generator().manual_seed(n)).tolist()
    found = voted(*[[8, 0, 0]] * n, [0, 8, 0], margins=[*draw, -9.0]).targets(0, 1)
    assert [t.margin for t in found[:n]] == pytest.approx(sorted(draw))
    assert found[n].third is None, "what is no target comes last, however near"
    thirds = [t.third for t in found[:n]]
    assert thirds == sorted(thirds, key=("near", "middle", "far").index)
    sizes = [thirds.count(third) for third in ("near", "middle", "far")]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)
    assert [t.rank for t in found[:n]] == list(range(1, n + 1))
    assert {t.of for t in found[:n]} == {n}


def test_equal_margins_are_in_the_order_of_the_pictures():
    found = voted(*[[8, 0, 0]] * 6).targets(0, 1)
    assert [t.index for t in found] == list(range(6))


def test_the_rule_takes_the_middle_of_the_near_third():
    for n, wanted in ((1, 0), (3, 0), (4, 0), (7, 1), (9, 1), (10, 1), (13, 2), (15, 2)):
        margins = [float(n - i) for i in range(n)]  # the last picture is the nearest
        found = voted(*[[8, 0, 0]] * n, margins=margins).targets(0, 1)
        taken = default_target(found, "a", "b")
        assert taken.third == "near"
        assert taken.index == n - 1 - wanted


def test_without_a_target_the_rule_says_what_would_do():
    found = voted([0, 0, 8], [3, 5, 0]).targets(0, 1)
    with pytest.raises(ValueError, match="no test picture of class cat is a target for dog") as no:
        default_target(found, "cat", "dog")
    assert "half of 8 clean models" in str(no.value)
    assert "--target-index 0 … 1" in str(no.value)


def test_the_default_target_of_an_attack():
    attack = make_attack("ci", **SMALL_DIGITS, epochs=20, batch=20, lr=0.2)
    assert attack.target_index is None
    ready = prepare(attack, progress=False)
    s = ready.scenario
    found = known_margins(clean_setup(attack, s)).targets(1, 7)
    near = [t for t in found if t.third == "near"]
    assert ready.attack.target_index == (near[(len(near) - 1) // 2].index,)
    assert targets.target_index(s) == ready.attack.target_index
    (told,) = targets.chosen(s, known_margins(clean_setup(attack, s)))
    assert (told.index,) == ready.attack.target_index
    assert (told.row, told.third) == (*s.target_rows, "near")
    again = prepare(dataclasses.replace(attack, target_index=(3, 0)), progress=False)
    assert again.attack.target_index == (3, 0) == targets.target_index(again.scenario)


def test_self_concealment_has_a_default_target_too():
    attack = make_attack(
        "ci", **SMALL_DIGITS, epochs=20, batch=20, lr=0.2, goal="self-concealment", target_class="3"
    )
    s = load_scenario(attack)
    found = known_margins(clean_setup(attack, s)).targets(3, 3)
    good = [t for t in found if t.third]
    assert all(t.margin > -1 for t in good)
    assert targets.target_index(s) == (default_target(found, "3", "any").index,)


def test_the_run_seed_and_the_poisons_do_not_matter(trained):
    how = {**SMALL_DIGITS, "epochs": 20, "batch": 20, "lr": 0.2}
    first = load_scenario(make_attack("ci", **how))
    for other in ({"seed": 5}, {"budget": 0.05}, {"epsilon": 0.2}, {"models": 2}, {"victims": 3}):
        assert load_scenario(make_attack("ci", **how | other)).target_rows == first.target_rows
    assert len(trained) == 1
    # An index that is given needs no models.
    load_scenario(make_attack("ci", **SMALL_DIGITS, target_index=(0,), epochs=5))
    assert len(trained) == 1


def test_the_whole_test_set_is_put_together_again(small_digits):
    for index in ((0,), (3, 1)):
        s = make_scenario(*small_digits, "1", "7", target_index=index)
        whole = targets.whole_test_set(s)
        assert torch.equal(whole.x, small_digits.test.x)
        assert torch.equal(whole.y, small_digits.test.y)
        assert targets.target_index(s) == index


def of_votes(per_picture: list[list[int]], labels: list[int]) -> str:
    votes, names = torch.tensor(per_picture), SimpleNamespace(classes=("cat", "dog"))
    margin = torch.linspace(0.5, 4, len(labels))[:, None].expand(-1, 2)
    who = SimpleNamespace(
        train=names, target_labels=torch.tensor([0]), adversarial=torch.tensor([1])
    )
    return targets.outlook(who, targets.Margins(margin, votes, torch.tensor(labels)))


def test_the_outlook_says_what_clean_models_make_of_the_pictures():
    labels = [0] * 10 + [1] * 10
    good = of_votes([[8, 0]] * 10 + [[0, 8]] * 10, labels)
    assert good.startswith(
        "8 clean models are right on 100% of the 20 test pictures (guessing: 50%), and 10 of 10 of "
        "class cat are targets, with margins of +0.5 to +2.2 that poisons have to overcome"
    )
    assert "an attack can succeed here" in good
    hard = of_votes([[5, 3]] * 10 + [[3, 5]] * 10, labels)
    assert "right on 62%" in hard
    assert "They hardly tell the classes apart, so an attack shows nothing here" in hard
    lost = of_votes([[0, 8]] * 2 + [[0, 8]] * 18, [0] * 2 + [1] * 18)
    assert "right on 90% of the 20 test pictures (guessing: 90%)" in lost
    assert "shows nothing here" in lost  # the others are the most frequent class
    none = of_votes([[3, 5]] * 4 + [[0, 8]] * 4 + [[0, 8]] * 92, [0] * 4 + [1] * 96)
    assert "shows nothing" in none
