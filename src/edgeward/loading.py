"""Imported first by programs that load much: until all is loaded, nobody looks for garbage.

There is none, and looking was a fifth of a start. What is loaded stays, so it is not looked at later, either.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

_NEW_OBJECTS: Final = 10_000, 20, 10
"""How many new ones a look for garbage waits for (by default 700): in changes of 100,000 domains it finds
none, and took a third of the time."""
_MMAP_THRESHOLD: Final = -3, 128 * 1024
_ARENA_MAX: Final = -8, 2
"""For mallopt(3). By default glibc keeps blocks as large as any that was freed once, in heaps of each thread:
what a large change needed would never be given back."""

gc.disable()


def done() -> None:
    """Say that everything is loaded."""
    gc.freeze()
    gc.set_threshold(*_NEW_OBJECTS)
    gc.enable()
    with suppress(AttributeError):  # another libc
        mallopt = ctypes.CDLL(None).mallopt
        for option in (_MMAP_THRESHOLD, _ARENA_MAX):
            mallopt(*option)
