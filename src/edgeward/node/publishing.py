"""Turns declared state and resolved addresses into what Envoy is to hold, once and soon after each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from edgeward.declaration.feed import Rejection
from edgeward.gateway.envoy import SYSTEM_ROOTS, Gateway, endpoints, translate
from edgeward.gateway.envoy.gateway import cluster_name
from edgeward.gateway.envoy.routes import used_services
from edgeward.gateway.model import Service
from edgeward.log import logger
from edgeward.node.backends import Backends
from edgeward.node.state import State
from edgeward.xds import messages
from edgeward.xds.resource import Resource
from edgeward.xds.snapshot import Snapshot, snapshot

log = logger(__name__)
_GATHER_SECONDS = 0.02
_INLINE_HOSTS = 500
"""Translations of more hosts go to a thread: they take long enough for handshakes to notice."""


class Publishing:
    """``offer(snapshot)`` is called with each state Envoy is to hold."""

    def __init__(self, state: State, backends: Backends, offer: Callable[[Snapshot], None]) -> None:
        self._state = state
        self._backends = backends
        self._offer = offer
        self._due = asyncio.Event()
        self._stale = False
        self._good_revision = 0
        self._translated: tuple[Resource, ...] = ()
        self._services: tuple[Service, ...] = ()
        self._endpoints: dict[tuple[str, str], Resource] = {}
        self.failure: Rejection | None = None
        backends.changed = self._addresses_changed

    def changed(self, *, gateway: bool) -> None:
        """The state is another; ``gateway``: also what Envoy's configuration is made of."""
        self._stale |= gateway
        self._due.set()

    def _addresses_changed(self, hosts: set[str]) -> None:
        for service in self._services:
            if any(b.host in hosts for b in service.backends):
                self._endpoints.pop((service.project, service.name), None)
        self._due.set()

    async def run(self) -> None:
        """Publish after each change, for ever; changes that come together go together."""
        while True:
            await self._due.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._due.clear()
            await self._publish()

    async def _publish(self) -> None:
        revision, complete = self._state.revision, self._state.complete
        if self._stale:
            self._stale = False
            await self._translate(revision)
        if self.failure is not None:
            revision = self._good_revision
        self._good_revision = revision
        pending = []
        for service in self._services:
            key = service.project, service.name
            if self._backends.pending(service):
                pending.append((messages.ENDPOINTS, cluster_name(*key)))
                self._endpoints.pop(key, None)
            elif key not in self._endpoints:
                self._endpoints[key] = endpoints(service, self._backends.addresses(service))
        resources = [*self._translated, *self._endpoints.values()]
        self._offer(snapshot(revision, resources, pending, complete))

    async def _translate(self, revision: int) -> None:
        gateway = Gateway(
            listen=self._state.listen,
            services=tuple(self._state.services.values()),
            routes=tuple(self._state.routes.values()),
            system_roots=_system_roots(),
            domains=dict(self._state.domains),
            tcp_routes=tuple(self._state.tcp_routes.values()),
        )
        try:
            hosts = sum(len(r.hosts) for r in gateway.routes) + len(gateway.services)
            if hosts > _INLINE_HOSTS:
                translated = await asyncio.to_thread(translate, gateway)
            else:
                translated = translate(gateway)
            services = used_services(gateway)
        except Exception as error:
            # Envoy keeps what it has: a state that only this version of ours cannot translate must
            # neither end the node nor, read back from the sealed copy, end it again at each start.
            log.exception("the state cannot be translated for Envoy; keeping the one before")
            message = f"this node cannot translate the state of revision {revision}: {error!r}"
            self.failure = Rejection(object="gateway", message=message, revision=revision)
            return
        self.failure = None
        self._translated, self._services = translated, services
        self._endpoints = {}
        self._backends.want(self._services)

    def problems(self) -> dict[str, str]:
        """Give services with something wrong: key → sentence."""
        found = {}
        for service in self._services:
            sentence = self._backends.problem(service)
            if sentence:
                found[f"services/{service.project}/{service.name}"] = sentence
        return found


def _system_roots() -> str:
    return next((p for p in SYSTEM_ROOTS if Path(p).is_file()), SYSTEM_ROOTS[0])
