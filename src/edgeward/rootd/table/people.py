"""Users of this host by their names."""

from __future__ import annotations

import pwd


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
