"""Pipes for splice(2): kept for the next one, and only so many."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import NamedTuple

CAPACITY = 1024 * 1024
"""What a pipe may hold: the more at once, the less each GB costs; beyond this the kernel lets root only."""
_LESS = 256 * 1024
_KEPT = 16


class Pipe(NamedTuple):
    out: int
    """Where bytes are read from."""
    into: int


class Pipes:
    """Gives an empty pipe to whoever moves bytes, and takes it back empty."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[Pipe] = []
        self.open = 0

    def take(self) -> Pipe | None:
        """Give an empty pipe, or None where as many as allowed are in use."""
        if self._idle:
            return self._idle.pop()
        if self.open >= self._most:
            return None
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return None
        for size in (
            CAPACITY,
            _LESS,
        ):  # near a user's share of pipe memory less is given, or the default stays
            with suppress(OSError):
                fcntl.fcntl(pipe.into, fcntl.F_SETPIPE_SZ, size)
                break
        self.open += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        if len(self._idle) < _KEPT:
            self._idle.append(pipe)
        else:
            self.throw_away(pipe)

    def throw_away(self, pipe: Pipe) -> None:
        """Close a pipe, with whatever is still in it."""
        os.close(pipe.out)
        os.close(pipe.into)
        self.open -= 1
