"""What Python's standard library does not ask of the kernel: network namespaces, and giving up rights."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_libc = ctypes.CDLL(None, use_errno=True)


def leave_network() -> None:
    """Be in a new network namespace, in which nothing is but its loopback, up."""
    _check(_libc.unshare(_CLONE_NEWNET), "a network namespace cannot be made")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = struct.unpack_from("h", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _ifreq(0)), 16)[0]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _ifreq(flags | _IFF_UP))


def enter_network(namespace: int) -> None:
    """Be in the network namespace that this descriptor is open on."""
    _check(_libc.setns(namespace, _CLONE_NEWNET), "the network namespace cannot be entered")


def become_powerless(uid: int, gid: int) -> None:
    """Be this user, in no further group, and have what this process becomes hold no capability, ever."""
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "capabilities cannot be dropped")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "new privileges cannot be forbidden")


def _ifreq(flags: int) -> bytes:
    return struct.pack("16sh14x", b"lo", flags)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
