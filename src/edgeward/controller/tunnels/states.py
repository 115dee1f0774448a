"""The use cases of tunnels: taking in what nodes say, and saying how each connection does."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.controller.declared.rights import visible
from edgeward.controller.nodes.registry import Registry
from edgeward.controller.tunnels.connections import KnownSites
from edgeward.database.engine import Database
from edgeward.declaration import events, feed
from edgeward.declaration.events import Happened
from edgeward.errors import Invalid, NotFound, Problem
from edgeward.log import logger
from edgeward.vpn import store
from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import State
from edgeward.vpn.heard import Daemon, Heard, Held, Moved
from edgeward.vpn.other_side.seen import is_unspecified
from edgeward.vpn.status import WAITING, Site, Status, status

_log = logger("edgeward.controller.tunnels.states")
_TROUBLED: Final = ("down", "error", WAITING)


class Tunnels:
    """``known`` is what is declared, of all projects."""

    def __init__(self, database: Database, registry: Registry, clock: Callable[[], float]) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self.known = KnownSites()

    # --- for nodes -------------------------------------------------------------------------

    async def told(self, who: Principal, said: feed.Tunnels) -> None:
        """Take in what a node says of its gateways, and tell of each connection that is in another phase."""
        assert who.node is not None
        now = self._clock()
        heard = [_heard(one, now) for one in said.gateways]
        async with self._database.writing() as writing:
            moved = await store.take(writing, who.node, heard, now, whole=said.whole)
            happened = list(self._happened(moved, now))
            if happened:  # a revision wakes those who follow events
                await events.record(writing, happened, await writing.next_revision(), now)

    def _happened(self, moved: Sequence[Moved], now: float) -> Iterator[Happened]:
        for one in moved:
            site = self.known.by_id().get(one.now.connection)
            if site is not None:  # else it is declared no more
                yield Happened("tunnel", site.project, _news(site, one, now))

    # --- for people ------------------------------------------------------------------------

    async def listed(
        self, who: Principal, project: str | None, limit: int, after: tuple[str, ...] | None
    ) -> Sequence[Mapping[str, Any]]:
        """Give connections that ``who`` may see, those that are not up too, by project, name and id."""
        require(who, Right.READ)
        page = self.known.behind(after, limit, visible(who, project))
        return [shown(site, how) for site, how in (await self.states(page)).values()]

    async def summary(self, who: Principal) -> Mapping[str, Any] | None:
        """Give how many connections are in which phase, and the first one that needs a person; None where
        none is declared."""
        some = [site for site in self.known.all() if who.sees(site.project)]
        if not some:
            return None
        async with self._database.reading() as connection:
            phases = await store.phases(connection)
            daemons = await store.daemons(connection)
        astray = {one.gateway for one in daemons if one.reason}
        found = [_phase(site, phases) for site in some]
        both = list(zip(some, found, strict=True))
        down = [site for site, phase in both if phase in _TROUBLED]
        down += [site for site, phase in both if phase == "active" and site.gateway.id in astray]
        troubled = None
        if down:
            _, how = (await self.states(down[:1]))[down[0].connection.id]
            name = f"{down[0].project}/{down[0].name}"
            troubled = {"name": name, "phase": how.phase, "reason": how.reason, "number": len(down)}
        return {"phases": dict(Counter(found)), "troubled": troubled}

    async def found(self, who: Principal, name: str, project: str | None) -> Mapping[str, Any]:
        """Give one connection by its name or id; raises NotFound, or Invalid where several are meant."""
        site = self.site(who, name, project)
        return shown(*(await self.states([site]))[site.connection.id])

    def site(self, who: Principal, name: str, project: str | None) -> Site:
        require(who, Right.READ)
        seen = visible(who, project)
        found = [s for s in self.known.named(name) if seen is None or s.project == seen]
        if len(found) > 1:
            named = ", ".join(sorted(s.project for s in found)[:5])
            raise Invalid(Problem("project", f"there are several of that name; say which project: {named}"))
        if not found:
            raise NotFound(f"no tunnel '{name}' is declared")
        return found[0]

    async def states(self, some: Sequence[Site]) -> Mapping[str, tuple[Site, Status]]:
        """Give how these connections do, by id, in their order."""
        async with self._database.reading() as connection:
            held = await store.states(connection, [site.connection.id for site in some])
            only = some[0].gateway.id if len(some) == 1 else None
            daemons = defaultdict[str, list[Daemon]](list)
            for daemon in await store.daemons(connection, only):
                daemons[daemon.gateway].append(daemon)
        return {s.connection.id: (s, self._status(s, held, daemons[s.gateway.id])) for s in some}

    def _status(self, site: Site, held: Mapping[str, Held], daemons: Sequence[Daemon]) -> Status:
        return status(site, held.get(site.connection.id), daemons, self._connected)

    def _connected(self, name: str) -> bool:
        node = self._registry.find(name)
        return node is not None and self._registry.connected(node)


def _phase(site: Site, phases: Mapping[str, str]) -> str:
    return phases.get(site.connection.id, WAITING) if site.connection.enabled else "disabled"


def shown(site: Site, how: Status) -> dict[str, Any]:
    """Give a connection as people see it: nothing of it is secret."""
    connection = site.connection
    return {
        "id": connection.id,
        "name": site.name,
        "project": site.project,
        "phase": how.phase,
        "since": how.since,
        "reason": how.reason,
        "remedy": how.remedy,
        "node": how.node,
        "node_connected": how.fresh,
        "heard": how.heard,
        "gateway": {
            "id": site.gateway.id,
            "name": site.gateway.name,
            "driver": site.gateway.driver,
            "carried_by": how.driver or None,
            "phase": how.daemon.phase if how.daemon else None,
            "since": how.daemon.since if how.daemon else None,
            "reason": how.daemon.reason if how.daemon else "",
        },
        "peer": {"address": how.peer_address or connection.peer_address, "id": connection.peer_id},
        "local": {"address": how.local_address or connection.local_address, "id": _id(connection, how)},
        "networks": {"local": list(connection.local_networks), "peer": list(connection.peer_networks)},
        "algorithms": how.algorithms,
        "reauthenticates_at": how.reauthenticates_at,
        "handover": how.handover.model_dump(mode="json") if how.handover else None,
        **{key: sum(getattr(child, key) for child in how.children) for key in _COUNTS},
        "children": [child.model_dump(mode="json") for child in how.children],
    }


def _id(connection: Connection, how: Status) -> str:
    """Give what this side calls itself: its address, where it says nothing else and shares the host's."""
    return (
        how.local_address or connection.local_id
        if is_unspecified(connection.local_id)
        else connection.local_id
    )


_MOST_COUNTED: Final = 2**64
_COUNTS = ("bytes_in", "bytes_out", "packets_in", "packets_out")


def _heard(one: feed.GatewayState, now: float) -> Heard:
    states = []
    for data in one.connections:
        try:
            states.append(_sound(State.model_validate(data), now))
        except ValueError as error:
            _log.error("a node says of a tunnel what is not understood here", reason=str(error))
    return Heard(one.id, one.phase, _moment(one.since, now), one.reason, states, one.whole)


def _sound(state: State, now: float) -> State:
    """Give it with a moment that can be shown; raises ValueError where it counts more than daemons can."""
    if any(abs(getattr(child, key)) > _MOST_COUNTED for child in state.children for key in _COUNTS):
        raise ValueError(f"{state.connection}: there are no such figures")
    return state.model_copy(update={"since": _moment(state.since, now)})


def _moment(seconds: float, now: float) -> float:
    """Give a moment of a node's clock, which may be wrong: nothing has been so since a time to come."""
    return min(seconds, now) if seconds >= 0 else now


def _news(site: Site, moved: Moved, now: float) -> dict[str, Any]:
    before = None if moved.before is None else moved.before.phase
    of_node = {key: text for key, text in asdict(moved).items() if key in ("gateway", "node")}
    state = moved.now.model_dump(mode="json", include={"phase", "since", "reason", "remedy"})
    return {
        "at": now,
        "project": site.project,
        "name": site.name,
        "id": site.connection.id,
        **of_node,
        **state,
        "before": before,
    }
