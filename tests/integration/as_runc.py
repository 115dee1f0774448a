"""Becomes a program with the credentials that runc gives a container's first one; run as root.

    as_runc.py UID CAPABILITY PROGRAM ARGUMENT…

Bounding, permitted and effective hold the one capability (or none: -1), inheritable and ambient nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 24, 8, 38, 47


def prctl(*arguments: int) -> None:
    if libc.prctl(*arguments, *[0] * (5 - len(arguments))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl{arguments}")


def main() -> None:
    uid, capability, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if number != capability:
            prctl(PR_CAPBSET_DROP, number)
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    mask = 0 if capability < 0 else 1 << capability
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.execv(program, sys.argv[3:])


main()
