"""Which listeners may go: not those that serve until Envoy has taken those that come in their place."""

from __future__ import annotations

from typing import Final

from edgeward.xds.kind import Kind
from edgeward.xds.snapshot import Snapshot

_ONE_SETTING: Final = ("http", "https", "h3")
"""All of one of these are addresses of one declared field; TCP routes have nothing to do with each other."""


def leaving(listeners: Kind, snapshot: Snapshot) -> list[str]:
    """Give the names, ``KIND ADDRESS``, that go now.

    One whose very address comes anew goes with that, as Envoy removes first; others once all that come are
    there, and while one of these is refused those of its kind stay.
    """
    gone = listeners.gone(snapshot)
    if not gone:
        return []
    coming = listeners.queue(snapshot)
    if coming:
        addresses = {_address(name) for name in coming}
        return [name for name in gone if _address(name) in addresses]
    wanted = snapshot.resources.get(listeners.type_url, {})
    lacking = {_kind(name) for name in listeners.refused if name in wanted and name not in listeners.held}
    return [name for name in gone if _kind(name) not in lacking or _kind(name) not in _ONE_SETTING]


def _kind(name: str) -> str:
    return name.partition(" ")[0]


def _address(name: str) -> str:
    return name.partition(" ")[2]
