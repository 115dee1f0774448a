"""Turns declared state and resolved addresses into what Envoy is to hold, once and soon after each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from edgeward.certificates.model import Domain
from edgeward.declaration.feed import Rejection
from edgeward.gateway.envoy import SYSTEM_ROOTS, Gateway, Translation, endpoints
from edgeward.gateway.envoy.gateway import ClientCertificates, Edge, cluster_name
from edgeward.gateway.model import Behind, Service
from edgeward.log import logger
from edgeward.node.backends.addresses import Backends
from edgeward.node.backends.relays import Relays
from edgeward.node.state import State
from edgeward.xds import messages
from edgeward.xds.resource import Resource
from edgeward.xds.snapshot import Snapshot, snapshot

log = logger(__name__)
_GATHER_SECONDS = 0.02
_INLINE_HOSTS = 500
"""Translations that touch more hosts go to a thread: they take long enough for handshakes to notice."""


class Publishing:
    """``offer(snapshot)`` is called with each state Envoy is to hold; ``hot`` tells of a hot name whether all
    it needs is here; ``proofs``: the directory of the sockets that answer an authority's checks."""

    def __init__(
        self,
        state: State,
        backends: Backends,
        offer: Callable[[Snapshot], None],
        hot: Callable[[Domain], bool] = lambda domain: domain.hot,
        proofs: Path | None = None,
        relays: Relays | None = None,
    ) -> None:
        self._state = state
        self._backends = backends
        self._relays = relays
        self._offer = offer
        self._hot = hot
        self._proofs = None if proofs is None else str(proofs)
        self._due = asyncio.Event()
        self._stale = False
        self._doubtful: set[str] = set()
        self._good_revision = 0
        self._translation = Translation()
        self._translated: tuple[Resource, ...] = ()
        self._services: tuple[Service, ...] = ()
        self._named: tuple[Service, ...] = ()
        self._endpoints: dict[tuple[str, str], Resource] = {}
        self._gathered: tuple[tuple[Resource, ...], Snapshot] | None = None
        """The last snapshot and what was translated for it; None once an endpoint has changed."""
        self.failure: Rejection | None = None
        backends.changed = self._addresses_changed
        if relays is not None:
            relays.changed = self._elsewhere

    def changed(self, *, gateway: bool, domains: Iterable[str] = ()) -> None:
        """The state is another; ``gateway``: also what Envoy's configuration is made of; ``domains``: those
        that may be other ones."""
        self._stale |= gateway
        if self._state.domains_matter:
            self._doubtful.update(domains)
        self._due.set()

    def _addresses_changed(self, hosts: set[str]) -> None:
        for service in self._named:
            if any(b.host in hosts for b in service.backends):
                self._endpoints.pop((service.project, service.name), None)
                self._gathered = None
        self._due.set()

    def _elsewhere(self, services: set[tuple[str, str]]) -> None:
        if not services:  # nothing may be known at all yet, which is not to be published
            return
        for key in services:
            self._endpoints.pop(key, None)
        self._gathered = None
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
        self._offer(self._snapshot(revision, complete))

    def _snapshot(self, revision: int, complete: bool) -> Snapshot:
        """Give what Envoy is to hold; cheap where only the revision moved, as with each new certificate."""
        if self._gathered is not None:
            translated, last = self._gathered
            if translated is self._translated and last.complete == complete:
                return replace(last, revision=revision)
        pending = self._pending()
        for service in self._services:
            key = service.project, service.name
            if key not in self._endpoints and key not in pending:
                addresses = self._backends.addresses(service)
                self._endpoints[key] = endpoints(service, addresses, self.relays(service))
        resources = [*self._translated, *self._endpoints.values()]
        names = [(messages.ENDPOINTS, cluster_name(*key)) for key in pending]
        made = snapshot(revision, resources, names, complete)
        self._gathered = self._translated, made
        return made

    def _pending(self) -> set[tuple[str, str]]:
        """Give the services of which not all names were looked up yet; they have no endpoints so far."""
        found = {(s.project, s.name) for s in self._named if self._not_known_yet(s)}
        for key in found:
            self._endpoints.pop(key, None)
        return found

    def _not_known_yet(self, service: Service) -> bool:
        return self._backends.pending(service) or (self._relays is not None and self._relays.pending(service))

    async def _translate(self, revision: int) -> None:
        gateway = Gateway(
            listen=self._state.listen,
            services=tuple(self._state.services.values()),
            routes=tuple(self._state.routes.values()),
            system_roots=_system_roots(),
            domains=self._state.domains if self._state.domains_matter else {},
            edges=self._edges(),
            tcp_routes=tuple(self._state.tcp_routes.values()),
            proofs=self._proofs,
        )
        translation, doubtful = self._translation, self._doubtful
        self._doubtful = set()
        try:
            if translation.distance(gateway) > _INLINE_HOSTS:
                apart = replace(gateway, domains=dict(gateway.domains))
                translated = await asyncio.to_thread(translation.update, apart)
            else:
                translated = translation.update(gateway, doubtful)
        except Exception as error:
            self._translation = Translation()
            # Envoy keeps what it has: a state that only this version of ours cannot translate must
            # neither end the node nor, read back from the sealed copy, end it again at each start.
            log.exception("the state cannot be translated for Envoy; keeping the one before")
            message = f"this node cannot translate the state of revision {revision}: {error!r}"
            self.failure = Rejection(object="gateway", message=message, revision=revision)
            return
        self.failure = None
        self._translated = translated
        self._use(translation.services)

    def _use(self, services: tuple[Service, ...]) -> None:
        before = {(s.project, s.name): s for s in self._services}
        now = {(s.project, s.name): s for s in services}
        for key in [key for key in self._endpoints if now.get(key) is not before.get(key)]:
            del self._endpoints[key]
        if services != self._services:
            self._services = services
            self._named = tuple(s for s in services if not all(b.literal for b in s.backends))
            self._backends.want(self._named)
            if self._relays is not None:
                self._relays.want(self._named)

    def watched(self) -> bool:
        """Tell whether Envoy has anything to tell of some service: backends left out, limits."""
        return any(s.circuit is not None or s.health.passive is not None for s in self._services)

    def _edges(self) -> dict[str, Edge]:
        """Give why domains have filter chains of their own; a hot one once all it needs is here."""
        found = {name: self._edge(domain) for name, domain in self._state.own.items()}
        return {name: edge for name, edge in found.items() if edge != Edge()}

    def _edge(self, domain: Domain) -> Edge:
        client = domain.client_certificates
        shown = ClientCertificates(client.required, client.forward) if client else None
        return Edge(shown, self._hot(domain))

    def problems(self) -> dict[str, str]:
        """Give services with something wrong: key → sentence."""
        found = {}
        for service in self._named:
            sentence = self.problem(service)
            if sentence:
                found[f"services/{service.project}/{service.name}"] = sentence
        return found

    def relays(self, service: Service) -> dict[Behind, str]:
        """Give the sockets of relays that lead to a service's backends now."""
        return {} if self._relays is None else self._relays.sockets(service)

    def problem(self, service: Service) -> str:
        """Give what is wrong with a service's names and with the tunnels it is reached by, or nothing."""
        tunnels = "" if self._relays is None else self._relays.problem(service)
        return ". ".join(filter(None, (self._backends.problem(service), tunnels)))


def _system_roots() -> str:
    return next((p for p in SYSTEM_ROOTS if Path(p).is_file()), SYSTEM_ROOTS[0])
