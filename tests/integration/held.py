"""Becomes a program as NoNewPrivileges= and MemoryDenyWriteExecute= of a unit have it: held.py PROGRAM ARGUMENT…"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65

libc = ctypes.CDLL(None, use_errno=True)
for option in (PR_SET_NO_NEW_PRIVS, PR_SET_MDWE):
    if libc.prctl(option, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")
os.execv(sys.argv[1], sys.argv[1:])
