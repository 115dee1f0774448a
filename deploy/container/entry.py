"""The container's program: settings from files, then Edgeward in its place; standard library only.

`EDGEWARD_X_FILE=PATH` becomes `EDGEWARD_X` with what the file holds, so that secrets need not stand in the
pod. Where this interpreter has CAP_NET_BIND_SERVICE by its file, it is handed on as an ambient capability:
that is the only kind that a program started by one that is not root keeps. Edgeward then is process 1, and
takes signals as it does everywhere.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAM = "/opt/edgeward/bin/python"
_NET_BIND_SERVICE = 10
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_VERSION_3 = 0x20080522
_MOST_BYTES = 64 * 1024
_OTHERS_OWN = frozenset({"EDGEWARD_SEAL_KEY_FILE"})
"""Settings whose own name ends in _FILE."""


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Become Edgeward; returns only by an exception."""
    try:
        settings = from_files(environment)
        raise_low_ports()
        argv = [PROGRAM, "-P", "-m", "edgeward.cli", *arguments]
        os.execve(argv[0], argv, settings)  # noqa: S606 - becomes that program, no shell
    except (OSError, ValueError) as error:
        sys.exit(f"edgeward: {error}")


def from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment with every EDGEWARD_X_FILE read; raises ValueError with one sentence."""
    settings = dict(environment)
    for name, path in environment.items():
        if name.startswith("EDGEWARD_") and name.endswith("_FILE") and name not in _OTHERS_OWN:
            target = name.removesuffix("_FILE")
            if target in environment:
                raise ValueError(f"{target} and {name} are both set; leave one of them out")
            settings[target] = _content(name, Path(path))
            del settings[name]
    return settings


def _content(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES or b"\0" in text:
            raise ValueError(f"{name}: {path} is no setting: it is over 64 KB, or has a NUL")
        return text.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{name}: {path} is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"{name}: {path}: {error.strerror}; mount it where this user may read it") from error


def raise_low_ports() -> bool:
    """Make the capability to listen on low ports ambient, where there is one; False where there is none."""
    permitted = _capabilities()
    if not permitted >> _NET_BIND_SERVICE & 1:
        return False
    _set_capabilities(1 << _NET_BIND_SERVICE)  # that one alone, and what a program started by us inherits
    if _libc().prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _NET_BIND_SERVICE, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"CAP_NET_BIND_SERVICE cannot be handed on: {os.strerror(error)}")
    return True


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _capabilities() -> int:
    data = (_Data * 2)()
    if _libc().capget(ctypes.byref(_Header(_VERSION_3, 0)), data) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be read")
    return int(data[0].permitted)


def _set_capabilities(mask: int) -> None:
    data = (_Data * 2)()
    data[0].effective = data[0].permitted = data[0].inheritable = mask
    if _libc().capset(ctypes.byref(_Header(_VERSION_3, 0)), data) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be set")


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
