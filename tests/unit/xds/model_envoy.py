"""An Envoy as far as the delta protocol goes: it subscribes, applies, acknowledges, refuses and reconnects.

Bodies are words: ``eds`` makes a cluster ask for endpoints under its name, ``routes=NAME`` a listener for
routes, ``bad`` is refused. After xds_mux/delta_subscription_state.cc and cluster_manager_impl.cc.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from edgeward.xds import messages as m
from edgeward.xds.delta import DeltaStream
from edgeward.xds.events import Event

WILDCARD = (m.CLUSTER, m.LISTENER)
NAMED = (m.ENDPOINTS, m.ROUTES)


@dataclass
class Envoy:
    """``held``: type → name → (version, body). ``refusals``: what it said no to."""

    held: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    interest: dict[str, set[str]] = field(default_factory=dict)
    secrets_wanted: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    names_errors: bool = True
    stream: DeltaStream | None = None
    outbox: deque[bytes] = field(default_factory=deque)
    inbox: deque[bytes] = field(default_factory=deque)
    events: list[Event] = field(default_factory=list)
    responses: int = 0
    resources_received: int = 0
    _answered: set[str] = field(default_factory=set)
    _warming: list[bytes] = field(default_factory=list)
    _has_listeners: bool = False

    def connect(self, stream: DeltaStream) -> None:
        """Begin a stream: say all that is wanted and held."""
        self.stream = stream
        self.outbox.clear()
        self.inbox.clear()
        self._warming.clear()
        self._send(m.CLUSTER, versions=self._versions(m.CLUSTER))
        for kind in NAMED:
            if self.interest.get(kind):
                self._send(kind, subscribe=self.interest[kind], versions=self._versions(kind))
        if self._has_listeners:
            self._send(m.LISTENER, versions=self._versions(m.LISTENER))
        if self.secrets_wanted:
            self._send(m.SECRET, subscribe=self.secrets_wanted, versions=self._versions(m.SECRET))

    def _versions(self, kind: str) -> dict[str, str]:
        return {name: version for name, (version, _) in self.held.get(kind, {}).items()}

    def _send(
        self,
        kind: str,
        subscribe: set[str] = frozenset(),  # type: ignore[assignment]
        unsubscribe: set[str] = frozenset(),  # type: ignore[assignment]
        versions: dict[str, str] | None = None,
        nonce: str = "",
        error: str = "",
    ) -> None:
        request = m.DeltaDiscoveryRequest(
            type_url=kind,
            resource_names_subscribe=sorted(subscribe),
            resource_names_unsubscribe=sorted(unsubscribe),
            initial_resource_versions=versions or {},
            response_nonce=nonce,
        )
        if error:
            request.error_detail.message = error
            request.error_detail.code = 13
        self.outbox.append(request.SerializeToString())

    # --- moving bytes -------------------------------------------------------------------------

    def deliver_request(self) -> bool:
        """Have the server take in one request."""
        assert self.stream is not None
        if not self.outbox:
            return False
        self.events += self.stream.received(self.outbox.popleft())
        return True

    def collect(self) -> bool:
        """Take what the server wants to say."""
        assert self.stream is not None
        found = False
        while (response := self.stream.response()) is not None:
            self.inbox.append(response)
            found = True
        return found

    def take_response(self) -> bool:
        """Apply one response."""
        if not self.inbox:
            return False
        self._apply(m.DeltaDiscoveryResponse.FromString(self.inbox.popleft()))
        return True

    def settle(self) -> None:
        """Go on until nobody has anything to say."""
        for _ in range(10_000):
            if not (self.deliver_request() | self.collect() | self.take_response()):
                return
        raise AssertionError("the two never come to rest")

    # --- applying -----------------------------------------------------------------------------

    def _apply(self, response: object) -> None:
        kind = response.type_url  # type: ignore[attr-defined]
        resources = list(response.resources)  # type: ignore[attr-defined]
        removed = list(response.removed_resources)  # type: ignore[attr-defined]
        names = [r.name for r in resources] + removed
        assert len(names) == len(set(names)), "Envoy refuses a response that says a name twice"
        self.responses += 1
        self.resources_received += len(resources)
        held = self.held.setdefault(kind, {})
        bad = [r.name for r in resources if b"bad" in r.resource.value]
        good_ones = [r for r in resources if r.name not in bad]
        if kind in NAMED or kind == m.SECRET:
            wanted = self.secrets_wanted if kind == m.SECRET else self.interest.get(kind, set())
            good_ones = [r for r in good_ones if r.name in wanted]
            if bad:  # the first one thrown at ends it for those behind
                good_ones = []
        for resource in good_ones:
            held[resource.name] = (resource.version, resource.resource.value)
        for name in removed:
            held.pop(name, None)
        if kind in NAMED:
            self._answered |= {f"{kind}/{n}" for n in names}
        self._follow_up(kind, removed)
        self._acknowledge(kind, response.nonce, bad)  # type: ignore[attr-defined]

    def _follow_up(self, kind: str, removed: list[str]) -> None:
        if kind == m.CLUSTER:
            wanted = {n for n, (_, body) in self.held[kind].items() if b"eds" in body}
            self._interested(m.ENDPOINTS, wanted)
            if not self._has_listeners:
                self._has_listeners = True
                self._send(m.LISTENER)
        elif kind == m.LISTENER:
            bodies = [body.decode() for _, body in self.held[kind].values()]
            words = [w for body in bodies for w in body.split() if w.startswith("routes=")]
            self._interested(m.ROUTES, {w.removeprefix("routes=") for w in words})
        elif kind == m.SECRET and removed:
            gone = self.secrets_wanted & set(removed)
            self.secrets_wanted -= gone
            if gone:
                self._send(kind, unsubscribe=gone)

    def _interested(self, kind: str, wanted: set[str]) -> None:
        before = self.interest.get(kind, set())
        self.interest[kind] = wanted
        for name in before - wanted:
            self.held.get(kind, {}).pop(name, None)
            self._answered.discard(f"{kind}/{name}")
        if wanted != before:
            self._send(kind, subscribe=wanted - before, unsubscribe=before - wanted)

    def _acknowledge(self, kind: str, nonce: str, bad: list[str]) -> None:
        error = ""
        if bad:
            self.refusals += bad
            reasons = ", ".join(f"{name}: it is bad" for name in bad)
            named = self.names_errors and kind in WILDCARD
            error = f"Error adding/updating {reasons}" if named else "it is bad"
        before = len(self.outbox)
        self._send(kind, nonce=nonce, error=error)
        if kind == m.CLUSTER and self._is_warming():
            self._warming += [self.outbox.pop() for _ in range(len(self.outbox) - before)]
        if kind == m.ENDPOINTS and not self._is_warming():
            self.outbox.extend(self._warming)
            self._warming.clear()

    def _is_warming(self) -> bool:
        return any(f"{m.ENDPOINTS}/{n}" not in self._answered for n in self.interest.get(m.ENDPOINTS, set()))

    # --- visitors -----------------------------------------------------------------------------

    def shake_hands(self, name: str) -> None:
        """A visitor asks for a name; Envoy asks the server where it holds nothing for it."""
        if name not in self.secrets_wanted:
            self.secrets_wanted.add(name)
            self._send(m.SECRET, subscribe={name})

    @property
    def hanging(self) -> set[str]:
        """Names whose handshakes wait."""
        return self.secrets_wanted - self.held.get(m.SECRET, {}).keys()
