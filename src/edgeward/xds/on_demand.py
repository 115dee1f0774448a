"""Secrets on one stream: asked for by name at handshakes, answered one by one, evicted by removal.

Envoy 1.40 keeps a pending handshake (8-15 KB) for each name that was not answered, so every name
gets an answer: the secret, or its removal, which fails the handshake at once and leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeward.xds.blame import sentence
from edgeward.xds.events import Ask, Dropped, Event, Refused
from edgeward.xds.kind import MOST_BYTES
from edgeward.xds.resource import Resource
from edgeward.xds.wire import Request, size_of

MOST_NAME_BYTES = 254
"""253 for a domain name, 1 for a trailing dot."""
LASTING = "lasting:"
"""Secrets so named stand in a listener's own configuration: Envoy stays subscribed to them whatever it is
told, so they are never taken away, and may be given late."""
MOST_PENDING = 20_000
_MOST_ON_THEIR_WAY = 16
_UNSURE = "?"


@dataclass(slots=True)
class OnDemand:
    """``held``: what Envoy has; ``pending``: asked and not answered; ``answers``: to be sent."""

    held: dict[str, str] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    answers: dict[str, Resource | None] = field(default_factory=dict)
    alone: dict[str, Resource] = field(default_factory=dict)
    waiting: dict[str, tuple[Resource, ...]] = field(default_factory=dict)
    begun: bool = False

    def subscribe(self, request: Request) -> list[Event]:
        """Take in a request's names; gives an Ask for each that somebody must answer."""
        events: list[Event] = []
        if not self.begun and not request.subscribe:
            request.subscribe.append("*")  # Envoy writes a first visitor's "*" as a legacy wildcard
        self.begun = True
        for name in request.unsubscribe:
            if self._forget(name):
                events.append(Dropped(name))
        for name in request.subscribe:
            held = request.versions.get(name, "")
            self._forget(name)
            if not _sayable(name):
                continue
            if not _lasts(name) and (
                len(name) > MOST_NAME_BYTES or (not held and len(self.pending) >= MOST_PENDING)
            ):
                self.answers[name] = None
                continue
            if held:
                self.held[name] = held
            self.pending.add(name)
            events.append(Ask(name, held))
        return events

    def _forget(self, name: str) -> bool:
        self.answers.pop(name, None)
        self.alone.pop(name, None)
        known = name in self.pending
        self.pending.discard(name)
        return self.held.pop(name, None) is not None or known

    def answer(self, name: str, secret: Resource | None) -> bool:
        """Answer a name, or push it anew, or take it away (None); False where Envoy lost interest."""
        if name not in self.pending and name not in self.held and name not in self.answers:
            return False
        if secret is None and _lasts(name):
            return True
        self.pending.discard(name)
        self.alone.pop(name, None)
        if secret is not None and self.held.get(name) == secret.version:
            self.answers.pop(name, None)
        else:
            self.answers[name] = secret
        return True

    def settle(self, request: Request) -> list[Event]:
        """Take in an ACK or NACK; a refused secret is taken away so that its handshakes do not hang.

        Nothing is said of one in whose place another is on its way already.
        """
        sent = self.waiting.pop(request.nonce, None)
        if not sent or request.error is None:
            return []
        only, replaced = sent[0], self._replaced(sent[0])
        current = [r for r in sent if self.held.get(r.name) == r.version]
        for resource in current:
            self.held[resource.name] = _UNSURE
        if len(sent) > 1:
            self.alone.update((r.name, r) for r in current if r.name not in self.answers)
            return []
        for resource in current:
            if not _lasts(resource.name):
                self.answers.setdefault(resource.name, None)
        refused = Refused(only.type_url, only.name, only.version, only.owner, sentence(request.error))
        return [] if replaced else [refused]

    def _replaced(self, one: Resource) -> bool:
        coming = self.answers.get(one.name)
        version = self.held.get(one.name, one.version) if coming is None else coming.version
        return version != one.version

    def send(self, nonce: str) -> tuple[list[Resource], list[str]] | None:
        """Give secrets and removals for one response, or None where nothing is to be said now."""
        if len(self.waiting) >= _MOST_ON_THEIR_WAY or not (self.answers or self.alone):
            return None
        secrets, removed = self._take()
        for secret in secrets:
            self.held[secret.name] = secret.version
        for name in removed:
            self.held.pop(name, None)
        self.waiting[nonce] = tuple(secrets)
        return secrets, removed

    def _take(self) -> tuple[list[Resource], list[str]]:
        if self.alone:
            return [self.alone.pop(next(iter(self.alone)))], []
        secrets: list[Resource] = []
        removed: list[str] = []
        size = 0
        while self.answers and size < MOST_BYTES:
            name = next(iter(self.answers))
            secret = self.answers.pop(name)
            if secret is None:
                removed.append(name)
                size += len(name) + 4
            else:
                secrets.append(secret)
                size += size_of(secret)
        return secrets, removed


def _lasts(name: str) -> bool:
    return name.startswith(LASTING)


def _sayable(name: str) -> bool:
    """Tell whether Envoy could read a response with this name.

    A response with a string that is not UTF-8 ends Envoy's stream, and Envoy asks for the name again
    on the next: no answer is the lesser evil. The listener turns such visitors away before.
    """
    return name.isascii() or not any("\udc80" <= c <= "\udcff" for c in name)
