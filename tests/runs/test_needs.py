"""What an attack needs: counts against a run, memory against a peak that was seen."""

from __future__ import annotations

import pytest
import torch

from mpkit.device import Plan
from mpkit.runs import needs as module
from mpkit.runs.attack import make_attack
from mpkit.runs.needs import needs, seconds, tried
from mpkit.runs.prepared import prepare
from mpkit.runs.trial import META, SURROGATE, VICTIM, Sizes, sizes_of
from mpkit.tracing import Traced
from tests.runs.test_trial import TINY

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NAMES = {"meta_gradient": META, "sgd_step": SURROGATE, "victim_step": VICTIM}


@pytest.mark.parametrize(
    "more", [{}, {"surrogate_data": "clean"}, {"budget": 0.02}, {"stagger": False, "models": 3}]
)
def test_pieces_are_as_many_as_a_run_has(more, monkeypatch):
    attack, called = make_attack(**TINY | {"craft_steps": 3} | more), dict.fromkeys(NAMES, 0)

    def noted(self, *given):
        called[self.f.__name__] += 1
        return self.plain(*given)

    monkeypatch.setattr(Traced, "__call__", noted)
    ready = prepare(attack, progress=False, plan=Plan(), victim_plan=Plan())
    list(ready.craft())
    list(ready.judge((255 * ready.scenario.base_images).to(torch.uint8)))
    found = needs(attack, sizes_of(attack), CPU)
    assert (found.images, found.poisons) == (60, len(ready.scenario.bases))
    asked = 3 * 100 / 20 / 3  # of every victim, the test pictures: a third of a step each
    assert found.counts[VICTIM] == called["victim_step"] + asked
    # Which batches hold a poison is chance.
    per_batch = attack.settings.craft_steps * attack.settings.models * 3
    assert abs(found.counts[META] - called["meta_gradient"]) < 0.25 * per_batch
    both = found.counts[META] + found.counts[SURROGATE]
    assert both == pytest.approx(called["meta_gradient"] + called["sgd_step"], abs=0.25 * per_batch)


def test_operations_are_those_of_the_pieces():
    attack = make_attack(**TINY)
    found = needs(attack, sizes_of(attack), CPU)
    more = needs(make_attack(**TINY | {"victims": 2}), sizes_of(attack), CPU)
    steps = found.counts[VICTIM]
    assert more.counts[VICTIM] == 2 * steps
    of_a_victim = (more.operations - found.operations) / steps
    layers = 100 * 128 + 128 * 128 + 128 * 10
    assert round(of_a_victim) == 20 * 2 * (3 * layers - 100 * 128)


def test_where_no_target_is_named_clean_models_train_as_well():
    named, unnamed = (make_attack(**TINY | {"target_index": i}) for i in (0, None))
    sizes = sizes_of(named)
    steps = [needs(a, sizes, CPU).counts[VICTIM] for a in (named, unnamed)]
    assert steps[1] / steps[0] == pytest.approx((3 + 8) / 3)


def test_a_gpu_holds_all_models_and_the_host_the_pictures():
    attack, sizes = make_attack(scenario="dog-bird"), Sizes(50_000, 10_000, (3, 32, 32), 10)
    here, there = (needs(attack, sizes, device) for device in (CPU, GPU))
    pictures = 60_000 * 3 * 32 * 32 * 4
    assert here.host == here.device + module.PROGRAM
    assert there.host == pictures + module.PROGRAM
    assert there.device > here.device > pictures
    assert there.operations == here.operations


def test_methods_whose_pieces_are_not_known_are_refused():
    attack = make_attack(**TINY | {"method": "bullseye"})
    with pytest.raises(ValueError, match="what --method bullseye needs is not known"):
        needs(attack, sizes_of(attack), CPU)


def test_a_trial_is_scaled_by_operations_and_asked_once(monkeypatch):
    asked = []

    def timed(piece, device, plan, models):
        asked.append(piece.given[-2].shape[0])
        return 1e-9 * piece.counted.operations

    monkeypatch.setattr(module, "timed", timed)
    attack, known = make_attack(**TINY), {}
    sizes, whole = sizes_of(attack), needs(attack, sizes_of(attack), CPU)
    times = tried(attack, sizes, CPU, known)
    assert seconds(whole, times) == pytest.approx(1e-9 * whole.operations)
    assert asked == [1, 20, 20]  # the target; a batch
    assert tried(attack, sizes, CPU, known) == times
    assert len(asked) == 3
    smaller = tried(attack, sizes, CPU, {}, enough=1e6)
    assert asked[3:] == [1, 6, 6]
    assert seconds(whole, smaller) == pytest.approx(1e-9 * whole.operations)
