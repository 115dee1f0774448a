"""Keeps what a program holds in memory out of other programs' reach, as far as the kernel offers it."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """Write no core dumps, and let no other program of this user attach or read /proc/PID/mem.

    Private keys and the seal key are in our memory. What started us is not affected: programs we start
    begin anew with execve(2), but for the limit on cores, which they inherit (prctl(2), getrlimit(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
