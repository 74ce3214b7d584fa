"""Memory that a run is done with goes back to the system.

On Linux the allocator keeps what was freed in small pieces for the next time, which in a kernel
that rests after a run is a sixth of all it holds (docs/many-students.md).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def give_back() -> None:
    """Hand over what is free; without effect where the system's allocator has no such call. Takes
    some hundredths of a second after a run."""
    if trim := _trim():
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim  # glibc's
    except (AttributeError, OSError, TypeError):  # another C library; TypeError: Windows
        return None
    trim.argtypes = [ctypes.c_size_t]
    return trim
