"""Everything for OpenResty gateways, put together for the controller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.controller.declared.state import State
from edgeward.controller.openresty.facade import Facade
from edgeward.controller.openresty.listening import Listening
from edgeward.controller.openresty.upkeep import Upkeep
from edgeward.database.engine import Database
from edgeward.database.leases import Leases
from edgeward.sealing import Seal

LEASE: Final = "openresty"


class OpenRestyParts:
    """Off until ``openresty`` is declared; every controller serves the facade, one does the upkeep."""

    def __init__(
        self,
        database: Database,
        seal: Seal,
        state: State,
        obtainer: Obtainer,
        clock: Callable[[], float],
        observe: Callable[[str, str, int, float], None],
    ) -> None:
        self._settings = state.openresty
        facade = Facade(database, seal, obtainer, state.policy, state.openresty, clock)
        self.listening = Listening(facade, state.openresty, seal, observe)
        self.upkeep = Upkeep(database, state, seal, state.openresty, self.listening.tried, clock)

    def changed(self) -> None:
        """Tell that something declared is another."""
        self.listening.changed()
        self.upkeep.changed()

    async def run(self, leases: Leases) -> None:
        """Serve and keep up, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listening.run())
            group.create_task(self.upkeep.announce(self.listening.answers))
            group.create_task(leases.work(LEASE, self.upkeep.run))

    def shown(self, leases: Leases) -> Mapping[str, Any] | None:
        """Give how all of it is; what only the one controller knows is null on the others."""
        if self._settings() is None:
            return None
        here = LEASE in leases.names
        upkeep = self.upkeep.shown() if here else {"gateways": None, "redis": None}
        return {**self.listening.shown(), "here": here, **upkeep}
