"""Runners of endless counts."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from mpkit.lab.kit.runner import Runner

WAIT = 10


def lab_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "mpkit lab"]


@pytest.fixture
def no_thread_is_left():
    yield
    end = time.monotonic() + WAIT
    while lab_threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert not lab_threads()


@pytest.fixture
def made():
    """Makes runners of endless counts, one item a millisecond, and closes them."""
    runners = []

    def make(items=None, **options):
        def endless():
            for i in itertools.count():
                time.sleep(0.001)
                yield i

        runner = Runner(items or endless, mode=options.pop("mode", "thread"), **options)
        runners.append(runner)
        return runner

    yield make
    for runner in runners:
        assert runner.close(WAIT)


def until(condition) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)
