"""Methods against defenses: what is tried, and how rows are brought together."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from mpkit.defenses.private import privacy_spent
from mpkit.evaluation.rates import clustered_rate
from mpkit.runs import comparison
from mpkit.runs.attack import make_attack
from mpkit.runs.comparison import CLEAN, Trial, entries, groups, measured, trial_of, trials
from mpkit.runs.saved import to_dict

GIVEN = {"scale": "ci", "data": "signs", "target_index": (0,)}
ALL = {"methods": ["metapoison"], "defended": ["metapoison"], "budgets": [0.1], "tunings": ["no"]}


def row(trial: Trial, won: int, accuracy: float, **more) -> dict:
    """A made-up row: so many of four victims turned."""
    success = {"successes": won, "n": 4, "low": 0.0, "high": 1.0}
    told = {"success": success, "accuracy": accuracy, "diverged": 0}
    return {"arm": trial.arm, "attack": to_dict(trial.attack), "tally": told, "seconds": 1.0} | more


def test_every_method_meets_every_defense_and_clean_victims_do():
    found = trials(GIVEN, **ALL | {"tunings": ["no", "last"]}, defenses=["none", "jpeg", "loss"])
    cells = [(t.arm, t.attack.fine_tune, t.attack.defense.defense) for t in found]
    wanted = {(a, f, d) for a in ("poisoned", CLEAN) for f in ("no", "last")
              for d in ("none", "jpeg", "loss")}  # fmt: skip
    assert set(cells) == wanted
    assert len(cells) == len(wanted)


def test_methods_that_are_not_defended_meet_none():
    found = trials(GIVEN, **ALL | {"defended": []}, defenses=["none", "jpeg"])
    mine = [t.attack.defense.defense for t in found if t.arm == "poisoned"]
    assert mine == ["none"]
    assert {t.attack.defense.defense for t in found if t.arm == CLEAN} == {"none", "jpeg"}


def test_trials_of_the_same_poisons_stand_together():
    found = trials(GIVEN, **ALL | {"budgets": [0.1, 0.2]}, defenses=["none", "jpeg"])
    for group in groups(found):
        assert len({t.attack.without_victims() for t in group}) == 1
        assert [t.attack.defense.defense for t in group] == ["none", "jpeg"]
    assert len(groups(found)) == 3  # two budgets, and clean victims


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    small = GIVEN | {"n_train": 60, "n_test": 30}
    found = trials(small, **ALL, defenses=["none", "jpeg", "loss"])
    return [row for group in groups([t.on(("stop", "speed 50", 0)) for t in found])
            for row in measured(group)]  # fmt: skip


def test_poisons_are_crafted_once_and_judged_under_each_defense(rows):
    assert [r["arm"] for r in rows] == [CLEAN] * 3 + ["poisoned"] * 3
    assert ["screening" in r for r in rows] == [False, False, True] * 2
    assert [r["screening"]["poisons"] for r in rows[2::3]] == [0, 6]
    assert ["crafting" in r for r in rows] == [True, False, False] * 2
    assert len({trial_of(r).key for r in rows}) == 6
    assert {r["trained_on"] for r in rows} == {60}
    # The same as the attack by itself gives.
    attack = trial_of(rows[4]).attack
    ready = comparison.prepare(attack, progress=False)
    *_, (state, _) = ready.craft()
    poisons = comparison.poisons_of(ready.scenario, state, ready.attack.settings)
    *_, (_, victims) = ready.judge(poisons, ("poisoned",))
    assert comparison.tally(victims, "poisoned") == rows[4]["tally"]


def test_what_fails_is_told_and_the_rest_is_done(monkeypatch):
    group = groups(trials(GIVEN, **ALL, defenses=["none", "jpeg"]))[0]
    monkeypatch.setattr(comparison, "tally", lambda *_: pytest.fail("nothing to count"))

    def refuse(*_):
        raise errors.pop()

    errors = [KeyError("x")]
    monkeypatch.setattr(comparison, "prepare", refuse)
    # Without poisons no defense can be tried, and they are not crafted again for each.
    assert [r["failed"] for r in measured(group)] == ["KeyError: 'x'"] * 2
    errors = [MemoryError()]
    with pytest.raises(MemoryError):
        list(measured(group))


def test_a_defense_that_cannot_be_had_here_takes_no_other_with_it():
    """Also where it comes first, as when a comparison goes on."""
    given = GIVEN | {"network": "convnet-bn", "fine_tune": "no"}
    some = [
        Trial(make_attack(**given, defense=name), CLEAN) for name in ("dp-sgd", "early-stopping")
    ]
    first, second = measured(some)
    assert "batch norm" in first["failed"]
    assert "tally" in second


def test_targets_are_brought_together():
    found = trials(GIVEN, **ALL, defenses=["none", "loss"])
    clean, defended_clean, mine, defended = (
        [t.on(("stop", "speed 50", i)) for i in range(3)] for t in found
    )
    counts = {"poisons": 10, "caught": 5, "innocents": 100, "lost": 1}
    none = counts | {"poisons": 0, "caught": 0, "lost": 2}
    some = [row(t, 0, 0.8) for t in clean]
    some += [row(t, 1, 0.7, screening=none) for t in defended_clean]
    some += [row(t, won, 0.75, seconds=10.0) for t, won in zip(mine, (4, 4, 0), strict=True)]
    some += [row(t, 0, 0.6, screening=counts) for t in defended]
    one, two = entries(some)
    assert (one.method, one.defense, one.targets) == ("metapoison", "none", 3)
    assert one.turned == clustered_rate([4, 4, 0], [4, 4, 4])
    assert one.fell.successes == 2
    assert (one.price, one.caught, one.seconds) == (0, None, 10.0)
    assert two.price == pytest.approx(0.1)
    assert (two.caught, two.lost, two.lost_clean) == (0.5, 0.01, 0.02)
    assert two.clean_turned.successes == 3
    assert two.clean_accuracy.value == pytest.approx(0.7)
    flat = two.flat
    assert flat["turned_successes"] == 0
    assert flat["clean_accuracy_value"] == two.clean_accuracy.value
    assert all(not dataclasses.is_dataclass(v) for v in flat.values())


def test_what_dp_sgd_spends_is_told_or_why_it_is_not(monkeypatch):
    given = GIVEN | {"network": "mlp", "victim_epochs": 2, "victim_batch": 10}
    (_, _, mine, private) = trials(given, **ALL, defenses=["none", "dp-sgd"])
    some = [row(t.on(("stop", "speed 50", 0)), 1, 0.5, trained_on=60) for t in (mine, private)]
    none, spent = entries(some)
    assert (none.epsilon_dp, none.privacy) == (None, None)
    a = private.attack
    assert spent.epsilon_dp == privacy_spent(60, a.victim_recipe, a.defense)
    assert spent.privacy == f"ε_DP = {spent.epsilon_dp:.3g} at δ = 1e-05"
    earlier = [{k: v for k, v in r.items() if k != "trained_on"} for r in some]
    assert entries(earlier)[1].epsilon_dp is None
    assert "an earlier mpkit did not note" in entries(earlier)[1].privacy
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    lacking = entries(some)[1]
    assert lacking.epsilon_dp is None
    assert 'pip install "mpkit[privacy]"' in lacking.privacy


def test_bounds_are_compared_beside_budgets():
    found = trials(GIVEN, **ALL, defenses=["none"], epsilons=[8 / 255, 16 / 255])
    assert [t.attack.settings.epsilon for t in found[1:]] == [8 / 255, 16 / 255]
    assert found[0].arm == CLEAN  # which is the same for all
    at = ("stop", "speed 50", 0)
    some = [row(t.on(at), won, 0.8) for t, won in zip(found, (0, 1, 4), strict=True)]
    few, many = entries(some)
    assert (few.turned.successes, many.turned.successes) == (1, 4)
    assert few.panel[-1] == "ε = 8/255"
    assert few.panel != many.panel
    assert few.clean_accuracy == many.clean_accuracy is not None


def test_what_is_no_row_is_refused():
    good = row(Trial(make_attack(**GIVEN)), 0, 0.5)
    assert trial_of(good).attack == make_attack(**GIVEN)
    with pytest.raises(ValueError, match="no arm"):
        trial_of(good | {"arm": "noise"})
    with pytest.raises(KeyError):
        trial_of({"attack": good["attack"]})
