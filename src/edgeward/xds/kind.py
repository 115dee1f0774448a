"""What one stream has asked for, been sent and refused, for one type of resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeward.xds.blame import blamed, sentence
from edgeward.xds.events import Refused
from edgeward.xds.resource import Resource
from edgeward.xds.snapshot import Snapshot
from edgeward.xds.wire import Request, size_of

MOST_BYTES = 1 << 20
"""Responses are cut here: Envoy applies one after the other, and other clients stop at 4 MiB."""
_MOST_LATE = 16
_UNSURE = "?"


@dataclass(slots=True)
class Sent:
    """A response on its way: its resources, the names it takes away, and what Envoy held before."""

    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Kind:
    """One type on one stream. ``held``: name → version that Envoy has, or will have once it is through.

    ``owed``: names subscribed and not answered yet. ``alone``: resources of a refused response that
    named no culprit, to be sent one by one. ``late``: responses no longer waited for.
    """

    type_url: str
    named: bool
    """Named types are dropped by Envoy itself when nothing refers to them, and never removed while held."""
    subscribed: bool = False
    wildcard: bool = False
    greeting: bool = False
    """A wildcard subscriber that holds nothing waits for a first answer, be it empty."""
    names: set[str] = field(default_factory=set)
    owed: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    waiting: dict[str, Sent] = field(default_factory=dict)
    late: dict[str, Sent] = field(default_factory=dict)
    _queue: dict[str, Resource] | None = None

    def subscribe(self, request: Request) -> None:
        """Take in a request's names; the first without any asks for everything (legacy wildcard)."""
        first, self.subscribed = not self.subscribed, True
        if first:
            self.wildcard = not request.subscribe and not self.named
            self.greeting = self.wildcard and not request.versions
            self.held.update(request.versions)
        for name in request.subscribe:
            self._subscribe_one(name, known=name in request.versions)
        for name in request.unsubscribe:
            self._unsubscribe_one(name)
        if first or request.subscribe or request.unsubscribe:
            self._queue = None

    def _subscribe_one(self, name: str, known: bool) -> None:
        if name == "*" and not self.named:
            self.wildcard = True
            return
        self.names.add(name)
        if not known:  # a client that says it again has lost its copy, even of what it had refused
            self.held.pop(name, None)
            self.refused.pop(name, None)
            self.owed.add(name)

    def _unsubscribe_one(self, name: str) -> None:
        if name == "*":
            self.wildcard = False
            return
        self.names.discard(name)
        self.owed.discard(name)
        self.refused.pop(name, None)
        if not self.wildcard:
            self.held.pop(name, None)

    def settle(self, request: Request) -> list[Refused]:
        """Take in an ACK or NACK; gives what was refused."""
        sent = self.waiting.pop(request.nonce, None) or self.late.pop(request.nonce, None)
        if sent is None or request.error is None:
            return []
        guilty = self._guilty(sent, request.error)
        self._queue = None
        current = [r for r in sent.resources if self.held.get(r.name) == r.version]
        if not guilty:
            self.alone.update(r.name for r in current)
        names = {one[0] for one in guilty}
        for resource in current:
            if resource.name not in names:
                self.held[resource.name] = _UNSURE  # goes once more; Envoy skips what it has
            elif resource.name in sent.before:
                self.held[resource.name] = sent.before[resource.name]
            else:
                del self.held[resource.name]
        self.refused.update({name: version for name, version, _, _ in guilty})
        return [Refused(self.type_url, *one) for one in guilty]

    def _guilty(self, sent: Sent, text: str) -> list[tuple[str, str, str, str]]:
        if len(sent.resources) == 1:
            only = sent.resources[0]
            reason = blamed(text, [only.name]).get(only.name) or sentence(text)
            return [(only.name, only.version, only.owner, reason)]
        reasons = blamed(text, [r.name for r in sent.resources])
        return [(r.name, r.version, r.owner, reasons[r.name]) for r in sent.resources if r.name in reasons]

    def again(self, names: Iterable[str]) -> None:
        """Have these go once more, where Envoy wants them."""
        for name in names:
            if name in self.names and name in self.held:
                self.held[name] = _UNSURE
                self._queue = None

    def offered(self, snapshot: Snapshot) -> None:
        """A new snapshot is there: find anew what is to be sent, and forget refusals of what has changed."""
        self._queue = None
        wanted = snapshot.resources.get(self.type_url, {})
        for name, version in list(self.refused.items()):
            if name not in wanted or wanted[name].version != version:
                del self.refused[name]

    def stays_behind(self, snapshot: Snapshot) -> bool:
        """Tell whether Envoy refuses something of this snapshot, and so may go on with an older version."""
        wanted = snapshot.resources.get(self.type_url, {})
        return any(n in wanted and wanted[n].version == v for n, v in self.refused.items())

    def queue(self, snapshot: Snapshot) -> dict[str, Resource]:
        """Give what Envoy lacks or has in another version, refused versions left out."""
        if self._queue is None:
            wanted = snapshot.resources.get(self.type_url, {})
            names = wanted if self.wildcard else [n for n in self.names if n in wanted]
            self._queue = {
                name: wanted[name]
                for name in names
                if wanted[name].version not in (self.held.get(name), self.refused.get(name))
            }
        return self._queue

    def send(self, nonce: str, snapshot: Snapshot, leaving: Sequence[str] = ()) -> Sent | None:
        """Give the next response's content and take it as sent, or None where there is nothing to say."""
        queue = self.queue(snapshot)
        chosen = _chunk(queue, self.alone)
        removed = [*self._absent(snapshot), *leaving]
        if not chosen and not removed and not self.greeting:
            return None
        self.greeting = False
        before = {r.name: self.held[r.name] for r in chosen if r.name in self.held}
        for resource in chosen:
            del queue[resource.name]
            self.alone.discard(resource.name)
            self.owed.discard(resource.name)
            self.refused.pop(resource.name, None)
            self.held[resource.name] = resource.version
        for name in removed:
            self.owed.discard(name)
            self.held.pop(name, None)
        sent = Sent(tuple(chosen), tuple(removed), before)
        self.waiting[nonce] = sent
        return sent

    def _absent(self, snapshot: Snapshot) -> list[str]:
        if not self.owed or not snapshot.complete:
            return []
        there = snapshot.resources.get(self.type_url, {})
        return sorted(n for n in self.owed if n not in there and (self.type_url, n) not in snapshot.pending)

    def gone(self, snapshot: Snapshot) -> list[str]:
        """Give the names Envoy holds that are no more."""
        if self.named or not snapshot.complete:
            return []
        there: Mapping[str, Resource] = snapshot.resources.get(self.type_url, {})
        return sorted(n for n in self.held if n not in there and (self.type_url, n) not in snapshot.pending)

    def hurry(self) -> None:
        """Stop waiting for what is on its way; its ACK or NACK still counts when it comes."""
        self.late.update(self.waiting)
        self.waiting.clear()
        while len(self.late) > _MOST_LATE:
            del self.late[next(iter(self.late))]


def _chunk(queue: Mapping[str, Resource], alone: set[str]) -> list[Resource]:
    chosen: list[Resource] = []
    size = 0
    for name, resource in queue.items():
        if name in alone:
            if not chosen:
                return [resource]
            continue
        size += size_of(resource)
        if chosen and size > MOST_BYTES:
            break
        chosen.append(resource)
    return chosen
