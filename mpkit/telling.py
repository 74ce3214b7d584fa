"""How far a piece of work is, told batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Tell = Callable[[int, int], object]
"""Told (done, of) after every batch of every model; what it raises ends the work."""


class Count:
    """Counts batches, in any thread, and tells after each how many of all are done."""

    def __init__(self, tell: Tell | None, of: int):
        self.tell, self.of, self.done = tell, of, 0

    def over(self, batches: Iterable[Item], models: int = 1) -> Iterator[Item]:
        """The same batches, of so many models side by side."""
        for batch in batches:
            yield batch
            # Two threads at once may lose some: it is only told.
            self.done = min(self.of, self.done + models)
            if self.tell:
                self.tell(self.done, self.of)
