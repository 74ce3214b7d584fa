"""Batches of one surrogate that are asked at the same time: the same bits, in any number."""

from __future__ import annotations

import threading

import pytest
import torch

from mpkit import device, metapoison, tracing
from mpkit.device import Plan, in_turn, plan_for
from mpkit.metagradient import METAGRADIENTS
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from mpkit.settings import SPREAD
from tests.blobs import (
    SMALL,
    changed,
    identical,
    precise,
    run,
    setting,
    small_bn,
    small_net,
    tensors,
)

ONE = changed(SMALL, models=1, craft_steps=5)  # over more steps than an age


def outcome(settings, net, plan) -> list[torch.Tensor]:
    state, records = run(settings, precise(setting()), net, plan)
    return [*tensors(state), torch.tensor([r.losses for r in records], dtype=torch.float64)]


@pytest.mark.parametrize(
    "change",
    [
        {}, {"surrogate_data": "clean"}, {"poisoned_steps": "all"}, {"unroll_steps": 5},
        {"perturbation": "both"}, {"compute": "plain"}, {"models": 2}, {"average": "last"},
        *({"metagradient": name} for name in METAGRADIENTS),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("net", [small_net, small_bn, lambda: small_bn("batch")])
def test_any_number_of_threads_gives_the_same_bits(net, change):
    settings = changed(ONE, **change)
    alone = outcome(settings, net(), Plan())
    for workers in (2, 5):
        assert all(map(torch.equal, outcome(settings, net(), Plan(1, workers)), alone))


def pools() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if "ThreadPool" in t.name}


@pytest.fixture
def workers(monkeypatch) -> set[int]:
    """How many threads any surrogate's batches were asked on."""
    found, usual = set(), metapoison.in_turn
    monkeypatch.setattr(metapoison, "in_turn", lambda jobs, n: (found.add(n), usual(jobs, n))[1])
    return found


@pytest.mark.parametrize(
    ("models", "plan", "threads"),
    [
        (1, Plan(1, 2), 2), (1, Plan(), 1), (2, Plan(1, 2), 1), (2, Plan(1, 4), 2),
        (3, Plan(1, 4), 1), (2, Plan(2, 1), 1), (2, Plan(2, 4), 1),
    ],
)  # fmt: skip
def test_threads_that_no_model_needs_take_batches(models, plan, threads, workers):
    run(changed(ONE, models=models), setting(), small_net(), plan)
    assert workers == {threads}


def test_where_a_step_alone_may_have_other_bits_batches_wait(workers, monkeypatch):
    monkeypatch.setattr(metapoison, "SPREAD", ())
    run(ONE, setting(), small_net(), Plan(1, 2))
    assert workers == {1}
    assert set(SPREAD) < set(tracing.WAYS)


def test_a_last_layer_has_the_same_bits_too():
    attack = make_attack("ci", data="signs", target_index=(0,), models=1, craft_steps=3)
    ready = [prepare(attack, progress=False, plan=plan) for plan in (Plan(), Plan(1, 3))]
    ends = [[state for state, _ in r.craft()][-1] for r in ready]
    assert identical(*ends)


def test_an_attack_has_a_thread_for_every_core(monkeypatch):
    monkeypatch.setattr(device, "cores", lambda: 3)
    given = {"data": "signs", "target_index": (0,), "models": 1}
    for more, threads in (({"fine_tune": "no"}, 3), ({"fine_tune": "all"}, 3), ({}, 1)):
        attack = make_attack("ci", **given | more)  # a last layer's batches are too small for it
        assert prepare(attack, progress=False).plan == Plan(1, threads)
    attack = make_attack("ci", **given, fine_tune="no", compute="compiled")
    assert prepare(attack, progress=False).plan == Plan(1, 1)
    assert plan_for(2, torch.device("cpu"), 100) == Plan(1, 3)
    assert plan_for(2, torch.device("cuda"), 100) == Plan(2)


def test_what_is_told_may_end_it():
    def tell(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    before = pools()
    with pytest.raises(KeyboardInterrupt):
        list(metapoison.craft(setting(), small_net(), ONE, plan=Plan(1, 3), tell=tell))
    assert not pools() - before


# ── jobs in turn ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_jobs_give_what_they_give_in_their_order(workers):
    assert list(in_turn([lambda i=i: i * i for i in range(20)], workers)) == [
        i * i for i in range(20)
    ]
    assert list(in_turn([], workers)) == []


def test_jobs_run_side_by_side_and_no_further_ahead_than_one_a_thread_and_one():
    begun, together = [], threading.Barrier(2)

    def jobs():
        for i in range(20):
            begun.append(i)
            yield lambda i=i: (together.wait(20) if i < 2 else 0, i)[1]

    for done in in_turn(jobs(), 2):
        assert len(begun) - done <= 3
    assert begun == list(range(20))


def test_what_jobs_compute_is_computed_on_one_core_as_well():
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        jobs = (lambda: seen.append(torch.get_num_threads()) for _ in range(3))
        assert [torch.get_num_threads() for _ in in_turn(jobs, 2)] == [1, 1, 1]
        assert (torch.get_num_threads(), seen) == (2, [1, 1, 1])
    finally:
        torch.set_num_threads(before)


def test_one_worker_is_asked_when_what_it_gave_was_taken():
    taken = []

    def jobs():
        for i in range(4):
            assert taken == list(range(i))
            yield lambda i=i: (i, threading.get_ident())

    for i, thread in in_turn(jobs(), 1):
        assert thread == threading.get_ident()
        taken.append(i)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("where", ["job", "jobs", "reader"])
def test_an_error_anywhere_comes_out_and_ends_the_threads(where, workers):
    def jobs():
        for i in range(50):
            if where == "jobs" and i == 7:
                raise ZeroDivisionError
            yield lambda i=i: 1 / (7 - i) if where == "job" else i

    def read():
        for i in in_turn(jobs(), workers):
            if where == "reader" and i == 7:
                raise ZeroDivisionError

    before = pools()
    with pytest.raises(ZeroDivisionError):
        read()
    assert not pools() - before
