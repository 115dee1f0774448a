"""Gathers what bears on nodes, actions and tunnels, and has their ways walked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from sqlalchemy import func, select

from edgeward.access import store as tokens
from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.actions import Caller
from edgeward.controller.declared.rights import visible
from edgeward.controller.declared.state import State
from edgeward.controller.explain import action, behind, node, tunnel
from edgeward.controller.explain.action import ActionFacts
from edgeward.controller.explain.behind import RelayFacts, Sites, SiteView
from edgeward.controller.explain.facts import NodeView
from edgeward.controller.explain.node import NodeFacts
from edgeward.controller.explain.steps import verdict, walked
from edgeward.controller.nodes.actions import LIST_SECONDS, asker
from edgeward.controller.nodes.registry import Registry
from edgeward.controller.tunnels.states import Tunnels
from edgeward.database import schema
from edgeward.database.engine import Database, current_revision
from edgeward.declaration import revisions
from edgeward.declaration.feed import Answer, Run
from edgeward.declaration.model import DEFAULT_PROJECT, Key
from edgeward.gateway.model import Behind, Service
from edgeward.vpn import store
from edgeward.vpn.status import Site

_NO_ANSWER: Final = "the node did not answer"
Ask = Callable[[str, Run, float], Awaitable[Answer | None]]
"""Asks a node; None where it does not answer within so many seconds."""


class Gathering:
    """``ask`` reaches a node, whichever controller it follows."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        ask: Ask,
        tunnels: Tunnels,
        state: State,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._registry = registry
        self._ask = ask
        self._tunnels = tunnels
        self._state = state
        self._clock = clock

    async def of_node(self, who: Principal, name: str) -> Mapping[str, Any]:
        require(who, Right.SURVEY)
        known, now = self._registry.find(name), self._clock()
        if known is None:
            return verdict(name, "node", walked(node.way(NodeFacts(name, now))))
        async with self._database.reading() as connection:
            newest = await current_revision(connection)  # certificates move it too, which nodes follow
            live = await tokens.of_node(connection, name, now)
            daemons = [one for one in await store.daemons(connection) if one.node == name]
        view = self._view(name)
        came = await self._listed(name, {}) if view is not None and view.connected else None
        facts = NodeFacts(
            name,
            now,
            view,
            known.joined,
            newest,
            bool(live),
            daemons,
            None if came is not None and "actions" in came else _why(came),
            bool(daemons),
        )
        return verdict(name, "node", walked(node.way(facts)))

    async def of_action(
        self, who: Principal, caller: Caller, name: str, node_name: str | None
    ) -> Mapping[str, Any]:
        require(who, Right.READ)
        some = [one.name for one in self._registry]
        meant = node_name if node_name is not None or len(some) != 1 else some[0]
        view = None if meant is None else self._view(meant)
        came = None
        if view is not None and view.connected:
            came = await self._listed(view.name, asker(who, caller))
        last = await self._last_asked(name) if who.everywhere else None
        facts = ActionFacts(name, node_name, view, some, came, who.role, last)
        return verdict(name, "action", walked(action.way(facts)))

    async def of_tunnel(self, who: Principal, name: str, project: str | None) -> Mapping[str, Any]:
        site = self._tunnels.site(who, name, project)
        view = await self._site(site)
        way = tunnel.way(site, view.how, view.daemons, view.declared)
        return verdict(site.connection.name, "tunnel", walked(way))

    async def of_relay(self, who: Principal, place: Behind, project: str | None) -> Mapping[str, Any]:
        require(who, Right.READ)
        own = visible(who, project) or DEFAULT_PROJECT
        values = [s.value for s in self._state.stored.values() if s.key.project == own]
        services = [
            v for v in values if isinstance(v, Service) and any(b.behind == place for b in v.backends)
        ]
        view = (await self.sites({(own, place.site)})).get((own, place.site))
        nodes = [n for n in self._registry if self._registry.connected(n) and n.report is not None]
        if view is not None and view.how.node is not None:
            nodes = [node for node in nodes if node.name == view.how.node] or nodes
        said = {key: text for node in nodes if node.report for key, text in node.report.backends.items()}
        facts = RelayFacts(own, place, services, view, said)
        return verdict(f"{place.site}/{place.host}:{place.port}", "relay", walked(behind.of_relay(facts)))

    async def sites(self, wanted: Collection[tuple[str, str]]) -> Sites:
        """Give sites by project and name, as far as they are declared."""
        found = [site for key in wanted for site in self._tunnels.known.named("/".join(key))]
        return {(site.project, site.name): await self._site(site) for site in found}

    async def _site(self, site: Site) -> SiteView:
        _, how = (await self._tunnels.states([site]))[site.connection.id]
        stored = self._state.stored.get(Key("vpn", site.project, site.name))
        revision = None if stored is None else stored.revision
        async with self._database.reading() as connection:
            daemons = await store.daemons(connection, site.gateway.id)
            times = await revisions.times(connection, [] if revision is None else [revision])
        return SiteView(site, how, daemons, None if revision is None else times.get(revision))

    def _view(self, name: str) -> NodeView | None:
        found = self._registry.find(name)
        if found is None:
            return None
        return NodeView(
            name, self._registry.connected(found), found.report, labels=found.labels, seen=found.seen
        )

    async def _listed(self, name: str, said: Mapping[str, str]) -> Mapping[str, Any] | None:
        """Give what a node's rootd answers when it is asked what it would do for somebody."""
        answer = await self._ask(name, Run(id="", action="", asker=dict(said)), LIST_SECONDS)
        return None if answer is None else answer.run

    async def _last_asked(self, name: str) -> float | None:
        own = schema.audit.c
        query = select(func.max(own.at)).where(own.kind == "actions", own.name == name, own.action == "run")
        async with self._database.reading() as connection:
            found: float | None = (await connection.execute(query)).scalar()
        return found


def _why(came: Mapping[str, Any] | None) -> str:
    return _NO_ANSWER if came is None else str(came.get("reason") or came.get("outcome") or _NO_ANSWER)
