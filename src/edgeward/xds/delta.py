"""The incremental aggregated protocol (delta ADS) for one Envoy stream, as a plain state machine.

Feed it requests, snapshots and answers; ask it for responses. No socket, no clock.
Order, so that nothing refers to what is not there yet: clusters, then (once Envoy acknowledged them,
which it does when they are warm, cluster_manager_impl.cc ``updateClusterCounts``) listeners and
routes, and clusters are taken away last. Endpoints and secrets never wait: warming waits for them. Extensions
are what filters get apart from their listener.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeward.xds import messages
from edgeward.xds.events import Event
from edgeward.xds.kind import Kind
from edgeward.xds.leaving import leaving
from edgeward.xds.on_demand import OnDemand
from edgeward.xds.resource import Resource
from edgeward.xds.snapshot import Snapshot
from edgeward.xds.wire import read_request, write_response


class DeltaStream:
    """One stream of one Envoy, from its first request to its end."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.secrets = OnDemand()
        self._clusters = Kind(messages.CLUSTER, named=False)
        self._endpoints = Kind(messages.ENDPOINTS, named=True)
        self._listeners = Kind(messages.LISTENER, named=False)
        self._routes = Kind(messages.ROUTES, named=True)
        self._extensions = Kind(messages.EXTENSION, named=True)
        kinds = (self._clusters, self._endpoints, self._listeners, self._extensions, self._routes)
        self._kinds = {kind.type_url: kind for kind in kinds}
        self._snapshot = snapshot
        self._nonce = 0
        self.generation = 0
        """Of two Envoys of one host, the one that takes over has the higher one."""
        self.at_rest = False
        """Nothing but secrets has moved since all was said: what handshakes need must be cheap."""

    def received(self, data: bytes) -> list[Event]:
        """Take in the bytes of one request; raises Invalid where they are none."""
        request = read_request(data)
        if request.generation is not None:
            self.generation = request.generation
        if request.type_url == messages.SECRET:
            return [*self.secrets.settle(request), *self.secrets.subscribe(request)]
        kind = self._kinds.get(request.type_url)
        if kind is None:
            return []
        self.at_rest = False
        refused = kind.settle(request)
        kind.subscribe(request)
        return list(refused)

    def offer(self, snapshot: Snapshot) -> None:
        """Give the state that Envoy is to hold from now on."""
        before, self._snapshot = self._snapshot, snapshot
        if before is not None and snapshot.same(before):
            return
        self.at_rest = False
        for kind in self._kinds.values():
            kind.offered(snapshot)

    def answer(self, name: str, secret: Resource | None) -> bool:
        """Answer or push a secret, or take it away (None); False where Envoy does not want it."""
        return self.secrets.answer(name, secret)

    def response(self) -> bytes | None:
        """Give the next response to be sent, or None until something happens."""
        nonce = str(self._nonce + 1)
        sent = self._secrets(nonce) or self._configuration(nonce)
        if sent is not None:
            self._nonce += 1
        return sent

    def _secrets(self, nonce: str) -> bytes | None:
        sent = self.secrets.send(nonce)
        return None if sent is None else write_response(messages.SECRET, nonce, *sent)

    def _configuration(self, nonce: str) -> bytes | None:
        snapshot = self._snapshot
        if snapshot is None or self.at_rest:
            return None
        for kind, going in self._sendable(snapshot):
            if kind.subscribed and not kind.waiting and (sent := kind.send(nonce, snapshot, going)):
                if kind is self._clusters:
                    # A changed cluster warms anew and waits, up to 15 s, for endpoints that Envoy has
                    # (envoyproxy/envoy#47302): it does not ask again for a name it is subscribed to.
                    self._endpoints.again(r.name for r in sent.resources)
                return write_response(kind.type_url, nonce, sent.resources, sent.removed)
        self.at_rest = True
        return None

    def _sendable(self, snapshot: Snapshot) -> list[tuple[Kind, Sequence[str]]]:
        """Give the types whose turn it is, and what may be taken away of them."""
        clusters_there = not self._clusters.waiting and not self._clusters.queue(snapshot)
        if not clusters_there:
            return [(self._clusters, ()), (self._endpoints, ())]
        turn: list[tuple[Kind, Sequence[str]]] = [
            (self._endpoints, ()),
            (self._listeners, leaving(self._listeners, snapshot)),
            (self._extensions, ()),
            (self._routes, ()),
        ]
        # what was refused leaves an old version that may use them
        old = self._listeners.stays_behind(snapshot) or self._routes.stays_behind(snapshot)
        removals = self._users_settled(snapshot) and not old
        turn.append((self._clusters, self._clusters.gone(snapshot) if removals else ()))
        return turn

    def _users_settled(self, snapshot: Snapshot) -> bool:
        users = (self._listeners, self._routes)
        return not any(k.waiting or k.queue(snapshot) or k.gone(snapshot) for k in users)

    @property
    def silent(self) -> bool:
        """Nothing would be said now."""
        return self.at_rest and not self.secrets.answers and not self.secrets.alone

    @property
    def waits_for_clusters(self) -> bool:
        return bool(self._clusters.waiting)

    def hurry(self) -> None:
        """Go on although clusters are not warm: one that is slow to check must not hold up the rest."""
        self.at_rest = False
        self._clusters.hurry()

    @property
    def in_force(self) -> int | None:
        """The snapshot's revision, once Envoy acknowledged or refused all of it; None until then."""
        snapshot = self._snapshot
        if snapshot is None or not (self._clusters.subscribed and self._listeners.subscribed):
            return None
        # Envoy asks for a listener's routes before it acknowledges the listener, so none are missed
        ordered = (self._clusters, self._listeners, self._extensions, self._routes)
        done = not any(k.greeting or k.waiting or k.queue(snapshot) for k in ordered)
        return snapshot.revision if done and not leaving(self._listeners, snapshot) else None
