"""What a change of what is declared would do to live tunnels, before it is made: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgeward.vpn.desired import Connection, Gateway
from edgeward.vpn.driver import Effect
from edgeward.vpn.effect import effect

_REBUILT: Final = {
    "driver": "its gateway has another driver, which takes over while the former keys carry; to the peer we "
    "authenticate anew",
    "namespace": "its gateway has another namespace",
}
"""Fields of a gateway that its daemon cannot change while it runs."""


@dataclass(frozen=True)
class Foreseen:
    """``what``: what becomes of its declaration; ``beside``: nothing, it only shares an IKE_SA with one that
    changes. ``children``: how many CHILD_SAs it has when it is up.
    """

    connection: str
    name: str
    what: Literal["new", "changed", "gone", "beside"]
    effect: Effect
    children: int
    reason: str = ""

    @property
    def sentence(self) -> str:
        if self.what == "new":
            return "comes up"
        if self.what == "gone":
            return "ends: its tunnel goes down"
        said = {
            "none": "goes on as it is",
            "secret": "authenticates anew, its traffic goes on",
            "child": f"re-initiates {_count(self.children, 'CHILD_SA')}, within a packet's time",
            "ike": f"re-initiates its IKE_SA and {_count(self.children, 'CHILD_SA')}, within a packet's time",
        }[self.effect]
        return f"{said} ({self.reason})" if self.reason else said


def foreseen(before: Iterable[Gateway], after: Iterable[Gateway]) -> tuple[list[Foreseen], int]:
    """Give what becomes of each connection that is touched, by name, and how many others are not."""
    then = {connection.id: (gateway, connection) for gateway, connection in _each(after)}
    found: dict[str, Foreseen] = {}
    untouched = 0
    for gateway, old in _each(before):
        there = then.pop(old.id, None)
        if there is None:
            found[old.id] = _said(old, "gone", "ike" if old.enabled else "none")
            continue
        new_gateway, new = there
        rebuilt = next((f for f in _REBUILT if getattr(gateway, f) != getattr(new_gateway, f)), None)
        if gateway.id != new_gateway.id:
            found[old.id] = _said(new, "changed", _live(new, "ike"), "it moves to another gateway")
        elif rebuilt is not None:
            found[old.id] = _said(new, "changed", _live(new, "ike"), _REBUILT[rebuilt])
        elif old != new:
            found[old.id] = _said(new, "changed", effect(old, new))
        else:
            untouched += 1
    found |= {connection.id: _said(connection, "new", "none") for _, connection in then.values()}
    beside = list(_beside(after, found))
    found |= {one.connection: one for one in beside}
    return sorted(found.values(), key=lambda one: one.name), untouched - len(beside)


def summary(found: Sequence[Foreseen], untouched: int) -> str:
    """Give it in one line: ``re-initiates 1 CHILD_SA, 99 others untouched``."""
    parts = []
    if again := [one for one in found if one.effect == "ike" and one.what in ("changed", "beside")]:
        parts.append(f"re-initiates {_count(len(again), 'IKE_SA')} with their CHILD_SAs")
    if children := sum(one.children for one in found if one.effect == "child"):
        parts.append(f"re-initiates {_count(children, 'CHILD_SA')}")
    if secrets := sum(one.effect == "secret" for one in found):
        parts.append(f"authenticates {secrets} anew")
    for what, verb in (("new", "brings up"), ("gone", "ends")):
        if number := sum(one.what == what for one in found):
            parts.append(f"{verb} {number}")
    parts.append(f"{untouched} {'other' if untouched == 1 else 'others'} untouched" if parts else _NOTHING)
    return ", ".join(parts)


_NOTHING: Final = "no tunnel is touched"


def _each(gateways: Iterable[Gateway]) -> Iterator[tuple[Gateway, Connection]]:
    for gateway in gateways:
        for connection in gateway.connections:
            yield gateway, connection


def _beside(after: Iterable[Gateway], found: dict[str, Foreseen]) -> Iterator[Foreseen]:
    """Give those that share an IKE_SA with one whose IKE_SA begins anew."""
    for gateway in after:
        anew = {
            _ends(connection): connection
            for connection in gateway.connections
            if (one := found.get(connection.id)) is not None and one.what == "changed" and one.effect == "ike"
        }
        for connection in gateway.connections if anew else ():
            other = anew.get(_ends(connection))
            if other is not None and connection.id not in found:
                reason = f"it shares its IKE_SA with {_name(other)}"
                yield _said(connection, "beside", _live(connection, "ike"), reason)


def _ends(connection: Connection) -> tuple[str, ...]:
    one = connection
    return one.local_address, one.peer_address, one.local_id, one.peer_id


def _live(connection: Connection, effect: Effect) -> Effect:
    return effect if connection.enabled else "none"


def _said(
    connection: Connection,
    what: Literal["new", "changed", "gone", "beside"],
    effect: Effect,
    reason: str = "",
) -> Foreseen:
    one = connection
    pairs = len(one.local_networks) * len(one.peer_networks)
    return Foreseen(one.id, _name(one), what, effect, pairs if one.ike.version == 1 else 1, reason)


def _name(connection: Connection) -> str:
    return connection.name


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
