"""Linux capabilities of this process (capabilities(7)): read, and cut down to listening on low ports."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NET_BIND_SERVICE: Final = 10
_PR_SET_PDEATHSIG: Final = 1
_PR_GET_PDEATHSIG: Final = 2
_PR_CAPBSET_DROP: Final = 24
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_AMBIENT_RAISE: Final = 2
_AMBIENT_CLEAR_ALL: Final = 4
_VERSION_3: Final = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: a child must not allocate much


@dataclass(frozen=True)
class Held:
    """Bit masks, as /proc/PID/status shows them."""

    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privs: bool

    def low_ports(self) -> bool:
        """Whether this process may listen on low ports now."""
        return bool(self.effective >> NET_BIND_SERVICE & 1)


def held(pid: int | str = "self") -> Held:
    """Read a process's; raises OSError."""
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    inheritable, permitted, effective, bounding, ambient = (
        int(lines[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    )
    no_new_privs = lines.get("NoNewPrivs", "0").strip() == "1"
    return Held(inheritable, permitted, effective, bounding, ambient, no_new_privs)


def hand_on_low_ports() -> bool:
    """Make CAP_NET_BIND_SERVICE ambient where it is permitted, so that programs we start keep it; whether
    they do."""
    now = held()
    if not now.permitted >> NET_BIND_SERVICE & 1:
        return False
    if os.geteuid() != 0 and not now.ambient >> NET_BIND_SERVICE & 1:
        _set(now.permitted, now.inheritable | 1 << NET_BIND_SERVICE)
        _call(_PR_CAP_AMBIENT, _AMBIENT_RAISE, NET_BIND_SERVICE)
    return True


def hand_on_nothing() -> None:
    """Have the program this process becomes keep no capability; for a child between fork and exec."""
    _libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Be this user for good, with CAP_NET_BIND_SERVICE alone, and never gain anything again.

    The signal that comes when the parent dies stays; the kernel would forget it with the user. To be called
    as root, from a single thread; raises OSError.
    """
    parent, orphaned = os.getppid(), ctypes.c_int()
    _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(orphaned), 0, 0, 0)
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        if number != NET_BIND_SERVICE and held().bounding >> number & 1:
            _call(_PR_CAPBSET_DROP, number)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    _call(_PR_SET_KEEPCAPS, 1)
    os.setresuid(uid, uid, uid)
    mask = held().permitted & 1 << NET_BIND_SERVICE  # a container may have taken it from root, too
    _set(mask, mask)
    if mask:
        _call(_PR_CAP_AMBIENT, _AMBIENT_RAISE, NET_BIND_SERVICE)
    _call(_PR_SET_NO_NEW_PRIVS, 1)
    _call(_PR_SET_PDEATHSIG, orphaned.value)
    if orphaned.value and os.getppid() != parent:  # it died before the line above
        os.kill(os.getpid(), orphaned.value)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _set(permitted: int, inheritable: int) -> None:
    data = (_Data * 2)()
    for half in (0, 1):
        data[half].effective = data[half].permitted = permitted >> 32 * half & 0xFFFFFFFF
        data[half].inheritable = inheritable >> 32 * half & 0xFFFFFFFF
    if _libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), data) != 0:
        raise _failed("capabilities cannot be set")


def _call(option: int, argument: int, more: int = 0) -> None:
    if _libc.prctl(option, argument, more, 0, 0) != 0:
        raise _failed("capabilities cannot be changed")


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
