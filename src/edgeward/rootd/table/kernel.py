"""What Python's standard library does not ask of the kernel: network namespaces, giving up rights, IPsec."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Collection
from pathlib import Path

NET_BIND_SERVICE, NET_ADMIN = 10, 12
"""capabilities(7)"""

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 24, 38, 47
_PR_CAP_AMBIENT_RAISE, _CAPABILITY_VERSION_3 = 2, 0x20080522
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_NETLINK_XFRM, _XFRM_MSG_NEWSA, _NLM_F_REQUEST_ACK_CREATE = 6, 0x10, 0x1 | 0x4 | 0x400
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


def see_below(prefix: Path, path: Path) -> None:
    """See at a path what is there below a prefix: this process alone, and those it becomes."""
    refused = f"{prefix} cannot be shown at {path}; a unit of rootd has to allow it: docs/how-to/libreswan.md"
    _check(_libc.unshare(_CLONE_NEWNS), refused)
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), refused)
    there = os.fsencode(prefix / path.relative_to("/"))
    _check(_libc.mount(there, os.fsencode(path), None, _MS_BIND, None), refused)


def become_powerless(uid: int, gid: int, keep: Collection[int] = ()) -> None:
    """Be this user, in no further group, and have what this process becomes hold no capability, ever.

    Those of ``keep`` alone it holds (ambient).
    """
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        if number not in keep:
            _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "capabilities cannot be dropped")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    if keep:
        _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "capabilities cannot be kept")
    os.setresuid(uid, uid, uid)
    if keep:
        _hold(keep)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "new privileges cannot be forbidden")


def has_esp() -> bool:
    """Tell whether the kernel itself does ESP: a state of it is made, in the network namespace we are in."""
    loopback, limits = socket.inet_aton("127.0.0.1").ljust(16, b"\0"), struct.pack("Q", 2**64 - 1) * 4
    selector = bytes(56)
    # struct xfrm_usersa_info of linux/xfrm.h
    state = (
        selector + loopback + struct.pack("!IB3x", 0x1234, socket.IPPROTO_ESP) + loopback + limits + bytes(32)
        + bytes(32) + bytes(12) + struct.pack("=IIHBBB7x", 0, 0, socket.AF_INET, 1, 0, 0)
    )  # fmt: skip
    cipher = _attribute(2, b"ecb(cipher_null)".ljust(64, b"\0") + struct.pack("I", 0))
    digest = _attribute(1, b"digest_null".ljust(64, b"\0") + struct.pack("I", 0))
    body = state + digest + cipher
    header = struct.pack("=IHHII", 16 + len(body), _XFRM_MSG_NEWSA, _NLM_F_REQUEST_ACK_CREATE, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_XFRM) as asking:
            asking.settimeout(5)
            asking.send(header + body)
            answer = asking.recv(4096)
    except OSError:
        return False
    return bool(struct.unpack_from("=i", answer, 16)[0] != -errno.EPROTONOSUPPORT)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value


def _hold(numbers: Collection[int]) -> None:
    """Have these in all sets but the bounding one, and nothing else (capset(2), prctl(2))."""
    bits = sum(1 << number for number in numbers)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    _check(_libc.capset(header, struct.pack("=6I", low, low, low, high, high, high)), "capset")
    for number in numbers:
        _check(
            _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0), "capabilities cannot be kept"
        )


def _ifreq(flags: int) -> bytes:
    return struct.pack("16sh14x", b"lo", flags)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
