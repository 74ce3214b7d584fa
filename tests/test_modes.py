"""torch's modes in several threads, and random numbers of a generator of their own."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from mpkit.modes import Seeded


def test_inside_random_numbers_are_decided_by_the_seed_alone():
    before = torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with Seeded(seed):
            drawn.append((torch.empty(5).uniform_(), torch.empty(5).normal_()))
    assert torch.equal(torch.get_rng_state(), before)
    one, two, other = drawn
    assert all(map(torch.equal, one, two))
    assert not any(map(torch.equal, one, other))


def test_every_kind_of_draw_is_decided_by_the_seed_and_the_inner_one_counts():
    def drawn() -> list[torch.Tensor]:
        made = [torch.rand(2), torch.randn(2), torch.randint(9, (3,)), torch.randperm(5)]
        return [*made, torch.empty(2).uniform_(), torch.bernoulli(torch.full((9,), 0.5))]

    before = torch.get_rng_state()
    with Seeded(5):
        alone = drawn()
    with Seeded(4), Seeded(5):
        inside = drawn()
    assert all(map(torch.equal, alone, inside))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_not_random_is_left_as_it_is():
    x = torch.arange(6.0).view(2, 3)
    with Seeded(0):
        found = nn.functional.linear(x, x) + 1
    assert torch.equal(found, x @ x.T + 1)


def test_layers_begin_as_with_torchs_own_generator_at_that_seed():
    torch.manual_seed(11)
    wanted = nn.Linear(4, 3)
    with Seeded(11):
        found = nn.Linear(4, 3)
    assert all(map(torch.equal, found.parameters(), wanted.parameters()))


def test_one_thread_at_a_time_is_in_a_mode():
    inside, seen = [], []

    def work(seed: int) -> None:
        for _ in range(20):
            with Seeded(seed):
                inside.append(seed)
                torch.empty(3).uniform_()
                seen.append(len(inside))
                inside.remove(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert seen == [1] * 80


def test_a_thread_may_be_in_one_mode_within_another():
    with Seeded(4) as outer, Seeded(5) as inner:
        assert outer.generator is not inner.generator
        assert 0 <= float(torch.empty(1).uniform_()) < 1


def test_an_error_inside_lets_the_others_in():
    def fail() -> None:
        with Seeded(0):
            raise KeyError("broken")

    with pytest.raises(KeyError):
        fail()
    other = threading.Thread(target=lambda: Seeded(1).__enter__().__exit__(None, None, None))
    other.start()
    other.join(10)
    assert not other.is_alive()
