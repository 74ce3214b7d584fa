"""Settings that one thread turns while another one reads them."""

from __future__ import annotations

import dataclasses
import threading
from typing import Generic, TypeVar

Settings = TypeVar("Settings")


class Knobs(Generic[Settings]):
    """A frozen settings object that can be replaced at any moment; calling it gives the latest.

    That is what `mpkit.craft` takes for its `settings`: it asks before every step, so a change acts
    at the next step, whole.
    """

    def __init__(self, settings: Settings):
        self._now, self._lock = settings, threading.Lock()

    def __call__(self) -> Settings:
        with self._lock:
            return self._now

    def turn(self, **values: object) -> Settings:
        """Replace some fields. Raises what the settings raise for bad values, and changes nothing
        then."""
        with self._lock:
            self._now = dataclasses.replace(self._now, **values)
            return self._now

    def put(self, settings: Settings) -> None:
        """Replace all of it."""
        with self._lock:
            self._now = settings
