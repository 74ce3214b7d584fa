"""The runner: what each button does in each phase, without a browser."""

from __future__ import annotations

import gc
import itertools
import threading
import time

import pytest

from mpkit.lab.kit.runner import Phase, Put, how_to_run
from tests.lab.kit.conftest import WAIT, lab_threads, until

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_a_run_goes_to_its_end(made):
    seen, phases = [], []
    runner = made(lambda: iter("abc"), on_item=seen.append)
    runner.on_change = lambda: phases.append(runner.phase)
    runner.run()
    assert runner.wait(WAIT)
    until(lambda: phases[-1] is Phase.DONE)
    assert seen == list("abc") == list(runner.history)
    assert (runner.phase, runner.steps) == (Phase.DONE, 3)
    assert phases[0] is Phase.RUNNING


def test_pause_pauses_and_uses_no_processor(made):
    runner = made()
    runner.run()
    until(lambda: runner.steps > 5)
    runner.pause()
    assert runner.phase in (Phase.PAUSING, Phase.PAUSED)
    assert runner.wait(WAIT)
    count, used = runner.steps, time.process_time()
    time.sleep(1)
    assert (runner.phase, runner.steps) == (Phase.PAUSED, count)
    assert time.process_time() - used < 0.2
    runner.run()
    until(lambda: runner.steps > count)


def test_step_advances_by_exactly_one(made):
    runner = made()
    for count in (1, 2, 3):
        runner.step()
        until(lambda: runner.phase is Phase.PAUSED)
        assert runner.steps == count


def test_stop_keeps_what_was_recorded(made):
    runner = made()
    runner.run()
    until(lambda: runner.steps > 3)
    runner.stop()
    assert runner.wait(WAIT)
    assert runner.phase is Phase.STOPPED
    assert list(runner.history) == list(range(runner.steps))
    before = runner.steps
    runner.run(), runner.step(), runner.pause(), runner.stop()
    time.sleep(0.05)
    assert (runner.phase, runner.steps) == (Phase.STOPPED, before)


def test_a_paused_run_can_be_stopped(made):
    runner = made()
    runner.step()
    until(lambda: runner.phase is Phase.PAUSED)
    runner.stop()
    until(lambda: runner.phase is Phase.STOPPED)
    assert runner.steps == 1


def test_reset_in_mid_step_forgets_and_nothing_arrives_later(made):
    inside, go, seen = threading.Event(), threading.Event(), []

    def slow():
        yield 0
        inside.set()
        go.wait(WAIT)
        yield 1

    runner = made(slow, on_item=seen.append)
    runner.run()
    assert inside.wait(WAIT)
    runner.reset()
    assert (runner.phase, runner.steps, list(runner.history)) == (Phase.READY, 0, [])
    go.set()
    until(lambda: not lab_threads())
    assert (seen, runner.steps, runner.phase) == ([0], 0, Phase.READY)


def test_a_run_after_a_reset_in_mid_step_is_a_new_one(made):
    turns, inside, go = itertools.count(), threading.Event(), threading.Event()

    def slow():
        turn = next(turns)
        yield (turn, 0)
        if turn == 0:
            inside.set()
            go.wait(WAIT)
        yield (turn, 1)

    seen = []
    runner = made(slow, on_item=seen.append)
    runner.run()
    inside.wait(WAIT)
    runner.reset()
    runner.run()
    assert runner.wait(WAIT)
    go.set()
    until(lambda: not lab_threads())
    assert seen == [(0, 0), (1, 0), (1, 1)]
    assert runner.phase is Phase.DONE


@pytest.mark.parametrize("where", ["making", "next", "taking"])
def test_an_error_is_kept_and_reset_helps(made, where):
    broken = [True]

    def items():
        if where == "making" and broken:
            raise ValueError("no such data")

        def generate():
            yield 0
            if where == "next" and broken:
                raise ValueError("no such data")
            yield 1

        return generate()

    def take(item):
        if where == "taking" and broken and item == 1:
            raise ValueError("no such data")

    runner = made(items, on_item=take)
    runner.run()
    assert runner.wait(WAIT)
    assert runner.phase is Phase.FAILED
    assert str(runner.error) == "no such data"
    broken.clear()
    runner.reset()
    assert runner.error is None
    runner.run()
    assert runner.wait(WAIT)
    assert (runner.phase, runner.steps) == (Phase.DONE, 2)


def test_a_run_begins_whatever_becomes_of_telling_it(made):
    told = []

    def tell():
        told.append(None)
        if len(told) == 1:
            raise ZeroDivisionError

    runner = made(lambda: iter(range(3)), on_change=tell)
    with pytest.raises(ZeroDivisionError):
        runner.run()
    assert runner.wait(10)
    assert (runner.phase, runner.steps) == (Phase.DONE, 3)


def test_the_iterator_is_closed_when_a_run_is_stopped_or_reset(made):
    closed = []

    def items():
        try:
            for i in itertools.count():
                time.sleep(0.001)
                yield i
        finally:
            closed.append(True)

    for end in ("stop", "reset", "close"):
        runner = made(items)
        runner.run()
        until(lambda runner=runner: runner.steps > 1)
        getattr(runner, end)()
        until(lambda: closed)
        closed.clear()


def test_two_hundred_resets_leave_no_thread_and_no_memory(made):
    runner = made()
    for cycle in range(200):
        runner.run()
        until(lambda: runner.steps > 0)
        runner.reset()
        if cycle == 100:
            until(lambda: len(lab_threads()) == 0)
            gc.collect()
            objects = len(gc.get_objects())
    until(lambda: len(lab_threads()) == 0)
    gc.collect()
    assert len(gc.get_objects()) - objects < 1000


def test_history_is_bounded(made):
    runner = made(lambda: iter(range(100)), history=10)
    runner.run()
    assert runner.wait(WAIT)
    assert list(runner.history) == list(range(90, 100))
    assert runner.steps == 100


def test_every_press_in_every_phase_does_no_harm(made):
    """All words of five presses, on short runs: the phase is always one that can be left."""
    for presses in itertools.product(("run", "pause", "step", "stop", "reset"), repeat=3):
        runner = made(lambda: iter(range(3)))
        for press in presses:
            getattr(runner, press)()
        assert runner.wait(WAIT)
        runner.reset()
        runner.run()
        assert runner.wait(WAIT)
        assert (runner.phase, runner.steps) == (Phase.DONE, 3)


def test_synchronous_runs_end_inside_the_call(made):
    runner = made(lambda: iter("abc"), mode="sync")
    runner.run()
    assert (runner.phase, runner.steps) == (Phase.DONE, 3)


def test_chunks_come_press_by_press(made):
    runner = made(lambda: iter(range(7)), mode="chunks", chunk=3)
    for steps, phase in ((3, Phase.PAUSED), (6, Phase.PAUSED), (7, Phase.DONE)):
        runner.run()
        assert (runner.steps, runner.phase) == (steps, phase)
    runner.reset()
    runner.step()
    assert (runner.steps, runner.phase) == (1, Phase.PAUSED)
    runner.stop()
    assert runner.phase is Phase.STOPPED


def test_how_to_run(monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    assert how_to_run() == "thread"
    monkeypatch.setenv("MPKIT_SYNC", "0")
    assert how_to_run() == "thread"
    monkeypatch.setitem(__import__("sys").modules, "google.colab", object())
    assert how_to_run() == "chunks"
    monkeypatch.setenv("MPKIT_SYNC", "1")
    assert how_to_run() == "sync"


# ── what is put in beside the items ───────────────────────────────────────────────────────────


def test_what_is_put_in_is_no_step_and_its_answer_comes_back(made):
    put, answers = [], []

    def items():
        for i in range(3):
            answers.append((yield Put(lambda i=i: put.append(i) or 10 * i)))
            yield Put()
            yield i

    runner = made(items)
    runner.step()
    until(lambda: runner.phase is Phase.PAUSED)
    assert (list(runner.history), runner.steps, put) == ([0], 1, [0])
    runner.run()
    assert runner.wait(WAIT)
    assert (list(runner.history), runner.steps, put) == ([0, 1, 2], 3, [0, 1, 2])
    assert answers == [0, 10, 20]


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_run_that_was_left_puts_nothing_in(made, leave):
    put, began, go_on = [], threading.Event(), threading.Event()

    def items():
        began.set()
        go_on.wait(WAIT)
        yield Put(lambda: put.append("late"))
        put.append("never")
        yield 1

    runner = made(items)
    runner.run()
    began.wait(WAIT)
    threads = lab_threads()
    runner.reset() if leave == "reset" else runner.close(0)
    go_on.set()
    for thread in threads:
        thread.join(WAIT)
    assert put == []
    assert runner.steps == 0


def test_who_waits_for_something_can_be_stopped_and_paused(made):
    def waiting():
        while True:
            time.sleep(0.001)
            yield Put()

    runner = made(waiting)
    runner.run()
    runner.pause()
    until(lambda: runner.phase is Phase.PAUSED)
    runner.run()
    runner.stop()
    until(lambda: runner.phase is Phase.STOPPED)
    assert runner.steps == 0
