"""Users of this host by their names."""

from __future__ import annotations

import os
import pwd
from typing import Any


class Unknown(LookupError):
    """This host has no such user; the message says what to do."""


def user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in it
        raise Unknown(f"this host has no user {name!r}; make it: useradd --system {name!r}") from None


def uid(name: str) -> int:
    """Read a name or a number, which needs no user."""
    return int(name) if name.isdecimal() else user(name).pw_uid


def identity(name: str) -> dict[str, Any]:
    """Give what ``subprocess.Popen`` is told to run a program as this user, in all its groups."""
    found = user(name)
    groups = os.getgrouplist(name, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}
