"""A driver without a daemon: gateways of one process that reach each other by their addresses, for tests."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgeward.errors import NotFound, Unavailable
from edgeward.vpn.desired import Connection, Proposal, Psk
from edgeward.vpn.driver import Keyed, Line, Phase, State
from edgeward.vpn.effect import effect
from edgeward.vpn.listening import Listeners

_LINES: Final = 100


@dataclass(eq=False)
class Daemon:
    """What goes on as long as the daemon does, whoever drives it."""

    internet: Internet
    connections: dict[str, Connection] = field(default_factory=dict)
    tunnels: dict[str, Tunnel] = field(default_factory=dict)
    why: dict[str, tuple[str, str]] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    listeners: Listeners = field(default_factory=Listeners)
    level: int = 1
    log: dict[str, deque[Line]] = field(default_factory=dict)

    def changed(self, connection: str) -> None:
        self.since[connection] = now = time.time()
        self.log.setdefault(connection, deque(maxlen=_LINES)).append((now, "it may be in another state"))
        self.listeners.tell([connection])


@dataclass(frozen=True, eq=False)
class Tunnel:
    """Of both sides: the IKE_SA by its number, and what it carries."""

    number: int
    child: int
    sides: tuple[tuple[Daemon, str], tuple[Daemon, str]]
    since: float


class Internet:
    """Daemons find each other here; what is in ``cut`` reaches nobody."""

    def __init__(self) -> None:
        self.daemons: list[Daemon] = []
        self.cut: set[str] = set()
        self.numbers: Final = itertools.count(1)

    def daemon(self) -> Daemon:
        made = Daemon(self)
        self.daemons.append(made)
        return made

    def towards(self, mine: Connection) -> Iterable[tuple[Daemon, Connection]]:
        """Give the connections of others that begin where this one ends, and the other way round."""
        if {mine.local_address, mine.peer_address} & self.cut:
            return
        for daemon in self.daemons:
            for theirs in daemon.connections.values():
                ends = theirs.local_address, theirs.peer_address
                if theirs.enabled and ends == (mine.peer_address, mine.local_address):
                    yield daemon, theirs


class Memory:
    """The driver of one daemon; it holds nothing that the daemon does not."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def loaded(self) -> frozenset[str]:
        return frozenset(self._daemon.connections)

    async def load(self, connection: Connection, before: Connection | None, *, initiate: bool) -> None:
        here = self._daemon
        cost = effect(before or here.connections.get(connection.id), connection)
        here.connections[connection.id] = connection
        here.wanted.discard(connection.id)
        up = connection.id in here.tunnels
        if not connection.enabled:
            _end(here, connection.id)
            here.changed(connection.id)
            return
        if up and cost != "none":
            _renew(here, connection, new_peers=cost != "child")
        if initiate and connection.initiator:
            here.wanted.add(connection.id)
            if connection.id not in here.tunnels:
                _begin(here, connection)

    async def unload(self, connection: str) -> None:
        here = self._daemon
        here.wanted.discard(connection)
        _end(here, connection)
        for kept in (here.connections, here.why, here.since, here.log):
            kept.pop(connection, None)

    async def initiate(self, connection: str) -> None:
        known = self._known(connection)
        self._daemon.wanted.add(connection)
        if connection not in self._daemon.tunnels and not _begin(self._daemon, known):
            raise Unavailable("; ".join(self._daemon.why[connection]))

    async def terminate(self, connection: str) -> None:
        self._known(connection)
        self._daemon.wanted.discard(connection)
        _end(self._daemon, connection)

    async def states(self) -> Mapping[str, State]:
        return {one.id: self._state(one) for one in self._daemon.connections.values()}

    async def answers(self) -> None:
        pass

    async def events(self) -> AsyncIterator[str]:
        async for each in self._daemon.listeners.each():
            yield each

    async def lines(self, connection: str, last: int) -> Sequence[Line]:
        return tuple(self._daemon.log.get(connection, ()))[-last:]

    def beside(self, *, left: bool) -> None:
        """Nothing to be done: what it knows ends with nobody."""

    async def verbosity(self, level: int) -> None:
        self._daemon.level = level

    async def close(self) -> None:
        return

    def _known(self, connection: str) -> Connection:
        known = self._daemon.connections.get(connection)
        if known is None or not known.enabled:
            raise NotFound(f"there is no connection {connection} here, or it is disabled; load it first")
        return known

    def _state(self, one: Connection) -> State:
        here, tunnel = self._daemon, self._daemon.tunnels.get(one.id)
        why = here.why.get(one.id)
        phase: Phase = "disabled" if not one.enabled else "active" if tunnel else "error" if why else "down"
        reason, remedy = why if why and phase == "error" else ("", "")
        children = () if tunnel is None else (_keyed(one, tunnel),)
        return State(
            connection=one.id, phase=phase, since=here.since.get(one.id, time.time()), reason=reason,
            remedy=remedy, peer_address=one.peer_address if tunnel else "", children=children,
            algorithms=_spelled(one.ike.proposals[0]) if tunnel else "",
        )  # fmt: skip


def _begin(here: Daemon, mine: Connection) -> bool:
    """Have one come up with whoever is there; gives whether it did."""
    why = f"no answer from {mine.peer_address}", "see whether the peer runs"
    for there, theirs in here.internet.towards(mine):
        differs = _differs(mine, theirs)
        if differs is None:
            number = next(here.internet.numbers)
            _put(Tunnel(number, number, ((here, mine.id), (there, theirs.id)), time.time()))
            return True
        why = differs
        there.why[theirs.id] = differs
        there.changed(theirs.id)
    here.why[mine.id] = why
    here.changed(mine.id)
    return False


def _renew(here: Daemon, mine: Connection, *, new_peers: bool) -> None:
    old = here.tunnels[mine.id]
    there, name = next(side for side in old.sides if side != (here, mine.id))
    theirs = there.connections[name]
    if _differs(mine, theirs) is None:
        number = next(here.internet.numbers)
        _put(Tunnel(number if new_peers else old.number, number, old.sides, time.time()))
        return
    _end(here, mine.id)
    _begin(here, mine)


def _put(tunnel: Tunnel) -> None:
    for daemon, name in tunnel.sides:
        daemon.tunnels[name] = tunnel
        daemon.why.pop(name, None)
        daemon.changed(name)


def _end(here: Daemon, connection: str) -> None:
    """End a tunnel on both sides; who wants it begins anew."""
    tunnel = here.tunnels.get(connection)
    if tunnel is None:
        return
    for daemon, name in tunnel.sides:
        del daemon.tunnels[name]
        daemon.changed(name)
    for daemon, name in tunnel.sides:
        if name in daemon.wanted and daemon is not here and name in daemon.connections:
            _begin(daemon, daemon.connections[name])


Same = Callable[[Connection, Connection], bool]
_CHECKS: Final[tuple[tuple[Same, str, str], ...]] = (
    (lambda a, b: a.ike.version == b.ike.version, "the peer speaks another IKE version", "give both one"),
    (
        lambda a, b: bool(set(a.ike.proposals) & set(b.ike.proposals)),
        "the peer refused our proposals for IKE", "give both sides the same algorithms",
    ),
    (
        lambda a, b: (a.local_id, a.peer_id) == (b.peer_id, b.local_id),
        "the peer's ids are others", "compare both ids with the peer's",
    ),
    (
        lambda a, b: not isinstance(a.auth, Psk) or a.auth == b.auth,
        "the pre-shared keys differ", "give both sides the same secret",
    ),
    (
        lambda a, b: bool(set(a.ipsec.proposals) & set(b.ipsec.proposals)),
        "the peer refused our proposals for ESP", "give both sides the same algorithms",
    ),
    (
        lambda a, b: _networks(a) == _networks(b)[::-1],
        "the peer refused our networks", "give both sides the same networks, the other way round",
    ),
)  # fmt: skip


def _networks(one: Connection) -> tuple[set[str], set[str]]:
    return set(one.local_networks), set(one.peer_networks)


def _differs(mine: Connection, theirs: Connection) -> tuple[str, str] | None:
    return next(((reason, remedy) for same, reason, remedy in _CHECKS if not same(mine, theirs)), None)


def _keyed(one: Connection, tunnel: Tunnel) -> Keyed:
    return Keyed(
        local=one.local_networks, peer=one.peer_networks, spi_in=f"{tunnel.child:08x}",
        spi_out=f"{tunnel.child:08x}", algorithms=_spelled(one.ipsec.proposals[0]), since=tunnel.since,
    )  # fmt: skip


def _spelled(proposal: Proposal) -> str:
    return "/".join(filter(None, (proposal.encryption, proposal.integrity, *proposal.groups)))
