"""Settings that are turned in one thread and read in another."""

from __future__ import annotations

import threading

import pytest

from mpkit.lab.kit.knobs import Knobs
from mpkit.settings import Settings


def test_a_turn_counts_from_the_next_look_on():
    knobs = Knobs(Settings())
    before = knobs()
    assert knobs.turn(epsilon=0.2, seed=3) == knobs() == Settings(epsilon=0.2, seed=3)
    assert before == Settings()
    knobs.put(Settings(models=2))
    assert knobs() == Settings(models=2)


def test_what_is_refused_changes_nothing():
    knobs = Knobs(Settings())
    with pytest.raises(ValueError, match="epsilon"):
        knobs.turn(seed=5, epsilon=7)
    with pytest.raises(TypeError):
        knobs.turn(magic=1)
    assert knobs() == Settings()


def test_who_reads_sees_both_of_two_turns_or_neither():
    knobs, torn, over = Knobs(Settings()), [], threading.Event()

    def read() -> None:
        while not over.is_set():
            now = knobs()
            if round(1000 * now.epsilon) != now.craft_steps:
                torn.append(now)

    knobs.turn(epsilon=0.1, craft_steps=100)
    reader = threading.Thread(target=read)
    reader.start()
    for i in range(1, 500):
        knobs.turn(epsilon=i / 1000, craft_steps=i)
    over.set()
    reader.join()
    assert not torn


def test_turns_of_several_threads_are_all_there():
    knobs = Knobs(Settings())
    turns = [{"epsilon": 0.3}, {"seed": 4}, {"models": 3}, {"unroll_steps": 2}]
    threads = [threading.Thread(target=lambda t=t: knobs.turn(**t)) for t in turns]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert knobs() == Settings(epsilon=0.3, seed=4, models=3, unroll_steps=2)
