"""CompareLab: what each variant is given, what is shared, what is counted."""

from __future__ import annotations

import pytest

from mpkit.evaluation.rates import rate
from mpkit.lab import CompareLab
from mpkit.lab.kit.runner import Phase
from mpkit.metapoison import poisons_of
from mpkit.runs.prepared import Prepared, prepare
from tests.lab.conftest import finished, said

pytestmark = pytest.mark.usefixtures("unpainted")

PAIRS = [("1", "7", 0), ("7", "1", 1)]


@pytest.fixture
def lab(small):
    variants = {"near": {"unroll_steps": 1}, "far": {"unroll_steps": 2}}
    return small(CompareLab, variants, pairs=PAIRS, arms=("poisoned", "noise"))


def test_every_variant_meets_the_same_targets_and_victims(lab, until):
    finished(lab, until)
    assert [(o.variant, o.pair) for o in lab.outcomes] == [
        ("near", PAIRS[0]), ("far", PAIRS[0]), ("near", PAIRS[1]), ("far", PAIRS[1]),
    ]  # fmt: skip
    noise = {
        name: [r for o in lab.outcomes if o.variant == name for r in o.victims if r.arm == "noise"]
        for name in ("near", "far")
    }
    assert noise["near"] == noise["far"]  # same seeds, same targets, and nothing crafted
    assert lab.runner.steps == lab.total() == 4 * 7


def test_its_numbers_are_those_of_the_library(lab, until):
    finished(lab, until)
    name, pair, attack = lab.attacks()[1]
    ready = prepare(attack, progress=False)
    for state, record in ready.craft():  # noqa: B007
        pass
    *_, (_, victims) = ready.judge(poisons_of(ready.scenario, state, attack.settings))
    outcome = lab.outcomes[1]
    assert (outcome.variant, outcome.pair, outcome.loss) == (name, pair, record.loss)
    assert list(outcome.victims) == [r for r in victims if r.arm in ("poisoned", "noise")]
    row = next(r for r in lab.rows() if r.label == name)
    outcomes = [
        s for o in lab.outcomes if o.variant == name
        for r in o.victims if r.arm == "poisoned" for s in r.success
    ]  # fmt: skip
    assert row.rate == rate(sum(outcomes), len(outcomes))
    assert f"{name}: {row.rate}" in lab.describe()


def test_where_only_victims_differ_poisons_are_crafted_once(small, until, monkeypatch):
    seen, craft = [], Prepared.craft

    def counted(ready, **given):
        seen.append(ready)
        return craft(ready, **given)

    monkeypatch.setattr(Prepared, "craft", counted)
    variants = {"as expected": {}, "slower": {"victim_lr": 0.05}, "other": {"victim_epochs": 2}}
    lab = small(CompareLab, variants, pairs=PAIRS[:1])
    assert lab.total() == 6 + 3
    finished(lab, until)
    assert len(seen) == 1
    assert lab.runner.steps == lab.total()
    assert len({o.loss for o in lab.outcomes}) == 1


def test_the_same_seed_gives_the_same_and_the_last_run_stays_in_sight(lab, until):
    finished(lab, until)
    first = lab.describe()
    lab.transport.buttons["reset"].click()
    assert "Nothing has been counted" in lab.describe()
    assert lab.ghost.label == "last run"
    finished(lab, until)
    assert lab.describe() == first


def test_stopped_in_the_middle_it_keeps_what_is_counted(lab, until):
    lab.transport.buttons["run"].click()
    until(lambda: len(lab.outcomes) >= 1)
    lab.transport.buttons["stop"].click()
    until(lambda: lab.runner.phase is Phase.STOPPED)
    assert lab.rows()[0].rate.n == len(lab.outcomes[0].victims) // 2
    assert "near: " in lab.describe()


def test_settings_that_change_everything_wait_for_a_reset(lab, until):
    lab.controls["victims"].box.value = 3
    assert all(attack.victims == 3 for *_, attack in lab.attacks())
    finished(lab, until)
    lab.controls["victims"].box.value = 4
    assert "After reset" in said(lab)
    assert lab.rows()[0].rate.n == 3 * len(PAIRS)
    assert all(attack.victims == 3 for *_, attack in lab.attacks())
    lab.transport.buttons["reset"].click()
    assert all(attack.victims == 4 for *_, attack in lab.attacks())
    assert lab.controls["victims"].value == 4


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"arms": ("magic",)}, "magic"),
        ({"variants": {"x": {"epsilon": 7}}}, "epsilon"),
        ({"variants": {"x": {"magic": 7}}}, "magic"),
        ({"pairs": 10_000}, "pairs"),
    ],
)
def test_bad_settings_are_refused(small, given, words):
    with pytest.raises((ValueError, TypeError), match=words):
        small(CompareLab, **given)


def test_the_pictures_are_those_of_the_attack_that_is_looked_at(lab, until):
    finished(lab, until)
    gallery, outcome = lab.exhibit.gallery, lab.outcomes[1]
    lab.scrub(2 * 7)  # the second attack and its victims
    few = outcome.poisons[gallery.page].contiguous()
    assert gallery.poisons == few.numpy().tobytes()
    assert gallery.words["target"].splitlines()[:2] == ["target: 1", "far"]
    counted = ["near", "near, random noise", "far", "far, random noise"]
    assert [r.label for r in lab.rows(2) if r.rate] == counted
    lab.scrub(lab.film.last)
    assert gallery.words["target"].splitlines()[:2] == ["target: 7", "far"]
