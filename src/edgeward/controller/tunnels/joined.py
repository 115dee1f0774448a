"""Everything about tunnels, put together for the controller."""

from __future__ import annotations

from collections.abc import Callable

from edgeward.api.openstack.facade import Facade
from edgeward.controller.declared.objects import Declarations
from edgeward.controller.declared.state import State
from edgeward.controller.metrics import Metrics
from edgeward.controller.nodes.registry import Registry
from edgeward.controller.tunnels import alarms, figures
from edgeward.controller.tunnels.alarms import Post
from edgeward.controller.tunnels.gateways import Gateways
from edgeward.controller.tunnels.holding import Holding
from edgeward.controller.tunnels.openstack import Loopback, OpenStack
from edgeward.controller.tunnels.sites import Sites
from edgeward.controller.tunnels.states import Tunnels
from edgeward.controller.tunnels.steering import Ask, Steering
from edgeward.database.engine import Database
from edgeward.database.leases import Lease
from edgeward.sealing import Seal


class TunnelParts:
    """``roots`` gives our authority's, ``ask`` asks a node, ``post`` sends an alarm."""

    def __init__(
        self,
        database: Database,
        seal: Seal,
        state: State,
        declarations: Declarations,
        registry: Registry,
        roots: Callable[[], str],
        ask: Ask,
        post: Post,
        clock: Callable[[], float],
    ) -> None:
        self._database, self._alarms, self._post, self._clock = database, state.alarms, post, clock
        self.gateways = Gateways(database, state, registry, seal, roots)
        self.states = Tunnels(database, registry, clock)
        self.states.known.gateways = self.gateways.now
        self.holding = Holding(database, self.gateways, self.states, registry, clock)
        self.steering = Steering(database, self.states, ask, clock)
        self.sites = Sites(declarations, self.gateways, self.states)
        self.facade = Facade(OpenStack(database, state, declarations, seal))
        self.openstack = Loopback(self.facade, state)

    async def figures(self, metrics: Metrics) -> None:
        await figures.tell(metrics, self.states)

    async def alarm(self, lease: Lease) -> None:
        """Tell of tunnels that are down, until cancelled."""
        await alarms.run(self._database, self.states, self._alarms, self._post, self._clock, lease)
