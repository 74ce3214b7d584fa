"""torch's modes, which see every operation of a thread, made fit for several threads."""

from __future__ import annotations

import threading

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Mode(TorchDispatchMode):
    """A mode that one thread at a time is in, while others wait: torch keeps flags about its modes
    for the whole process."""

    _turn = threading.RLock()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled inside, so nothing need be kept from it

    def __enter__(self):
        self._turn.acquire()
        return super().__enter__()

    def __exit__(self, *error):
        try:
            return super().__exit__(*error)
        finally:
            self._turn.release()


class Seeded(Mode):
    """Inside it random operations take their numbers from a generator of their own."""

    def __init__(self, seed: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        random = torch.Tag.nondeterministic_seeded in op.tags
        if not random or kwargs.get("generator"):  # of a Seeded inside this one, whose word counts
            return op(*args, **kwargs)
        if all(argument.name != "generator" for argument in op._schema.arguments):
            op = op.overloadpacket.generator  # torch.rand and its like have an overload for it
        return op(*args, **kwargs, generator=self.generator)
