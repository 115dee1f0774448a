"""Network namespaces of ours: each is held by a process that does nothing, and has no name that others give.

A namespace that is mounted would go with the mount namespace its service manager gave to rootd.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from edgeward.rootd import trusted
from edgeward.rootd.table import daemons, kernel

_KEEPER = ("/usr/bin/sleep", "infinity")


class Missing(Exception):
    """There is no such namespace of ours."""


def create(records: int, name: str) -> str:
    if daemons.living(records, name) is not None:
        return f"{name} is there already"
    keep(records, name, kernel.leave_network)
    return f"{name} is made"


def keep(records: int, name: str, be_in: Callable[[], None]) -> None:
    """Have a keeper of this name in the network that ``be_in`` brings it to."""
    trusted.program(_KEEPER[0])
    daemons.begin(records, name, _KEEPER, dict, partial(_prepare, be_in))


def is_held(records: int, name: str) -> bool:
    found = daemons.living(records, name)
    if found is not None:
        os.close(found[1])
    return found is not None


def remove(records: int, name: str) -> str:
    return f"{name} is removed" if daemons.end(records, name) else f"{name} was not there"


def enter(records: int, name: str) -> None:
    """Be in it; raises Missing. ``records``: what ``daemons.locked`` gave, in all of these."""
    found = daemons.living(records, name)
    if found is None:
        raise Missing(f"there is no namespace {name}; create it first")
    try:
        # its id is nobody else's only as long as it lives: looked at again once it is open
        namespace = os.open(f"/proc/{found[0]}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if daemons.ended(found[1], 0):
            raise Missing(f"the namespace {name} has just gone; create it first")
        kernel.enter_network(namespace)
        os.close(namespace)
    finally:
        os.close(found[1])


def _prepare(be_in: Callable[[], None]) -> None:
    be_in()
    kernel.become_powerless(0, 0)
