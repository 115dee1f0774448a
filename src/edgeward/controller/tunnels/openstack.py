"""The use cases of OpenStack's API, and its listener for programs of this host that log in nowhere."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from edgeward.access.model import EVERY_PROJECT, Principal
from edgeward.api.openstack.app import OpenStackApp
from edgeward.api.openstack.facade import Facade
from edgeward.api.usecases import Precondition
from edgeward.controller.declared.objects import Declarations
from edgeward.controller.declared.state import State
from edgeward.controller.serving import Serving
from edgeward.database.engine import Database, Unreachable
from edgeward.declaration.model import Key, Stored
from edgeward.errors import EdgewardError
from edgeward.gateway.model import Address
from edgeward.log import logger
from edgeward.parsing import Value
from edgeward.sealing import Seal, Sealed
from edgeward.vpn import store
from edgeward.vpn.openstack.view import Ref

_RESOLVE_SECONDS: Final = 5.0
_AT_ONCE: Final = 4
"""Names: each takes a thread until the resolver gives up."""
_log = logger("edgeward.controller.tunnels.openstack")


class Heard:
    """What nodes said last, by ids."""

    def __init__(self, connections: Mapping[str, str], gateways: Mapping[str, str]) -> None:
        self._connections = connections
        self._gateways = gateways

    def connection(self, identity: str) -> str | None:
        return self._connections.get(identity)

    def gateway(self, identity: str) -> str | None:
        return self._gateways.get(identity)


class Seen:
    """What is declared, without what is only being looked at (``State.outlook``)."""

    def __init__(self, state: State) -> None:
        self._world = state.world
        self._stored = state.stored

    def declared(self, ref: Ref) -> Value | None:
        found = self._stored.get(Key(*ref))
        return None if found is None else found.value

    def meaning(self, ref: Ref) -> Collection[Ref]:
        return [user for user in self._world.meaning(ref) if user in self._stored]

    def external(self, name: str) -> Ref | None:
        return self._world.external(name)

    def of_kind(self, kind: str) -> Collection[Ref]:
        return [ref for ref in self._world.of_kind(kind) if ref in self._stored]

    def identified(self, kind: str, identity: str) -> Collection[Ref]:
        return [ref for ref in self._world.identified(kind, identity) if ref in self._stored]

    def stored(self, ref: Ref) -> Stored:
        return self._stored[Key(*ref)]


class OpenStack:
    def __init__(self, database: Database, state: State, declarations: Declarations, seal: Seal) -> None:
        self._database = database
        self._state = state
        self._declarations = declarations
        self._seal = seal
        self._resolving = asyncio.Semaphore(_AT_ONCE)

    async def seen(self) -> Seen:
        with suppress(Unreachable):  # then it is what we saw last
            async with self._database.reading() as connection:
                await self._state.catch_up(connection)
        return Seen(self._state)

    async def phases(self, connections: Collection[str] | None) -> Heard:
        try:
            async with self._database.reading() as connection:
                if connections is None:
                    found: Mapping[str, str] = await store.phases(connection)
                else:
                    states = await store.states(connection, list(connections))
                    found = {id_: held.state.phase for id_, held in states.items()}
                daemons = await store.daemons(connection)
        except Unreachable:
            return Heard({}, {})
        gateways: dict[str, str] = {}
        for daemon in daemons:
            if daemon.phase == "running" or gateways.get(daemon.gateway) != "running":
                gateways[daemon.gateway] = daemon.phase
        return Heard(found, gateways)

    async def resolved(self, name: str) -> str | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                await self._resolving.acquire()
                asking = asyncio.ensure_future(loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM))
                asking.add_done_callback(self._resolved)
                found = await asyncio.shield(asking)  # its thread goes on when nobody waits any more
        except (OSError, UnicodeError, TimeoutError):
            return None
        return next((str(address[0]).partition("%")[0] for *_, address in found), None)

    def _resolved(self, asking: asyncio.Future[Any]) -> None:
        self._resolving.release()
        if not asking.cancelled():
            asking.exception()  # who still waits has it

    def revealed(self, secret: Sealed) -> str:
        return secret.reveal(self._seal).reveal()

    async def put(
        self, who: Principal, key: Key, value: Mapping[str, object], revision: int | None
    ) -> Stored:
        expected = Precondition(absent=True) if revision is None else Precondition(match=(revision,))
        stored, _ = await self._declarations.put(who, key, value, expected, take_over=False)
        return stored

    async def deleted(self, who: Principal, key: Key) -> None:
        await self._declarations.deleted(
            who, key.kind, key.name, key.project, Precondition(), take_over=False
        )


_ANYBODY: Final = Principal("", "openstack on loopback", "admin", EVERY_PROJECT)


class Loopback:
    """Serves ``listen.openstack``: plain HTTP for whoever is on this host, as an admin; off by default."""

    def __init__(self, facade: Facade, state: State) -> None:
        self._state = state
        app = OpenStackApp(facade, _let_in, local=True)
        self._serving = Serving(app, None, "listen.openstack")
        self._changed = asyncio.Event()
        self._problem: str | None = None

    def changed(self) -> None:
        """Have it look at what is declared."""
        self._changed.set()

    async def run(self) -> None:
        """Listen where it is declared, until cancelled."""
        await self._serving.follow(self._changed, self._adjust, lambda: self._problem is not None)

    async def _adjust(self) -> None:
        declared = self._state.listen().openstack
        if set(declared) == set(self._serving.addresses) and not self._serving.failed():
            return
        try:
            await self._serving.serve([Address.parse(text) for text in declared])
        except EdgewardError as error:
            if str(error) != self._problem:
                _log.error("OpenStack's API is not served on loopback", reason=str(error))
            self._problem = str(error)
            return
        self._problem = None
        if declared:
            _log.warning("every program of this host is an admin here", openstack=list(declared))


async def _let_in(_token: str | None, client: str) -> Principal:
    assert not client or ipaddress.ip_address(client).is_loopback
    return _ANYBODY
