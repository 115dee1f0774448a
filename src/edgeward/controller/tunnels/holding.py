"""Which of several nodes has a gateway active: a lease in the database, which nodes ask for each second.

Whoever stops asking loses it after five seconds; a person, or keepalived, may give it to another one at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgeward.access.decide import require
from edgeward.access.model import EVERY_PROJECT, Principal, Right
from edgeward.controller.nodes.registry import Node, Registry
from edgeward.controller.tunnels.gateways import Gateways
from edgeward.controller.tunnels.states import Tunnels
from edgeward.database.engine import Database
from edgeward.database.leases import NODES, Leases
from edgeward.declaration import audit
from edgeward.declaration.feed import Claim, Granted
from edgeward.declaration.model import Key
from edgeward.domain_name import printable
from edgeward.errors import Conflict, EdgewardError, Invalid, Problem
from edgeward.log import logger

SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 3.0
"""After a pause of ours, in which nobody could ask, those who had their gateways come first."""
_log = logger("edgeward.controller.tunnels.holding")


class Holding:
    """``monotonic`` is this process's; leases go by the database's own clock, where it has one."""

    def __init__(
        self,
        database: Database,
        gateways: Gateways,
        tunnels: Tunnels,
        registry: Registry,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._gateways = gateways
        self._tunnels = tunnels
        self._registry = registry
        self._clock = clock
        self._monotonic = monotonic
        self._well_since = monotonic()

    async def granted(self, who: Principal, claim: Claim) -> Granted:
        """Give the gateways that a node has active from now on, among those that it could carry."""
        assert who.node is not None
        node = self._registry.find(who.node)
        if node is None or not claim.gateways:
            return Granted()
        allowed, _ = await self._gateways.of(node.labels)
        names = [f"{NODES}{gateway}" for gateway in set(claim.gateways) if gateway in allowed]
        recent = self._monotonic() - self._well_since < _GRACE_SECONDS
        try:
            taking = await self._leases(who.node).take_all(names, kept_only=recent)
        except EdgewardError:
            self._well_since = self._monotonic()
            raise
        held = sorted(name.removeprefix(NODES) for name in taking.held)
        return Granted(gateways=tuple(held), free_in=taking.free_in)

    async def promoted(self, who: Principal, name: str, node: str, project: str | None) -> Mapping[str, Any]:
        """Have a node take over the gateway of a connection; raises Invalid, NotFound or Conflict."""
        site = self._tunnels.site(who, name, project)
        require(who, Right.CHANGE, site.project)
        taking = self._candidate(node)
        allowed, _ = await self._gateways.of(taking.labels)
        if site.gateway.id not in allowed:
            raise Invalid(
                Problem("node", f"node '{node}' may not have this gateway; see nodes in {site.name}")
            )
        if not self._registry.connected(taking):
            raise Conflict(f"node '{node}' is not connected; a gateway can only be given to one that is")
        await self._leases(node).wrest(f"{NODES}{site.gateway.id}")
        async with self._database.writing() as writing:
            key = Key("nodes", EVERY_PROJECT, node)
            entry = audit.Entry(who.name, "api", "promote", key, None, {"gateway": site.gateway.name})
            await audit.record(writing, [entry], self._clock())
        _log.info("a gateway is given to a node", gateway=site.gateway.name, node=node, by=who.name)
        return {"gateway": site.gateway.id, "name": site.gateway.name, "node": node}

    def _candidate(self, name: str) -> Node:
        node = self._registry.find(name)
        if node is None:
            raise Invalid(Problem("node", f"no node named '{printable(name)}' has joined"))
        return node

    def _leases(self, node: str) -> Leases:
        return Leases(self._database, node, self._clock, SECONDS)
