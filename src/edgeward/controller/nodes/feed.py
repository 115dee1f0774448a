"""What one node is sent: what it serves of all that changed, in the order of revisions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgeward.controller.nodes.reading import Item, Look, Looks, Start
from edgeward.declaration.feed import PROTOCOL, ChangeMessage, Put, Removed, dumped
from edgeward.declaration.store import Position
from edgeward.parsing import Value
from edgeward.placement import NAME, Where

_MESSAGE_BYTES: Final = 1 << 20


@dataclass
class Bundle:
    """What one revision changed, or a part of it."""

    put: list[tuple[Put, int]] = field(default_factory=list)
    remove: list[Removed] = field(default_factory=list)
    expire: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """One look at the database: what to send, and whether that is all there was.

    ``relabelled``: nothing of this counts, the node is to begin anew; its labels are others than before.
    """

    messages: Sequence[ChangeMessage]
    lines: Sequence[bytes]
    """The messages as they are sent; nodes that get the same share them."""
    revision: int
    complete: bool
    relabelled: bool = False


class Feed:
    """Where one node is in the order of revisions; each ``round`` gives what comes next.

    A revision with more objects than are read at once is spread over rounds; its messages all say
    ``more`` but the last. ``since`` 0: the node has nothing yet, so that nothing need be removed there.
    """

    def __init__(self, looks: Looks, labels: Mapping[str, str], since: int) -> None:
        self._looks = looks
        self.labels = labels
        self._start = Start(Position(since), since)
        self._begun: int | None = None
        """The revision of which a part was sent."""
        self._bare: int | None = None if since == 0 else 0
        """What was deleted or moved away up to here, this node never had."""

    @property
    def revision(self) -> int:
        """Everything up to here was given."""
        return self._start.certificates

    async def round(self) -> Round:
        """Give what comes next, in one consistent view; raises Unavailable."""
        look = await self._looks.look(self._start)
        name = self.labels[NAME]
        if look.labels.get(name, {NAME: name}) != self.labels:
            return Round((), (), self.revision, complete=False, relabelled=True)
        if self._bare is None:
            self._bare = look.current
        seen = look.seen_by(self.labels)
        same = (seen, self._bare, self._begun)
        if same not in look.made:
            messages = tuple(_messages(look, seen, self._bare, self._begun, self.revision))
            look.made[same] = messages, tuple(line(message) for message in messages)
        messages, lines = look.made[same]
        if messages:
            self._begun = messages[-1].revision if messages[-1].more else None
        self._start = look.following
        return Round(messages, lines, look.whole, look.whole == look.current)


def _messages(
    look: Look, seen: frozenset[Where], bare: int, begun: int | None, since: int
) -> Iterator[ChangeMessage]:
    bundles = _bundles(look.items, seen, bare)
    for order in look.expirations:
        bundles[order.revision].expire.append(order.name)
    if begun is not None and begun <= look.whole:
        bundles[begun]  # what was begun is ended, with whatever is left of it
    if look.whole > since:
        bundles[look.whole]  # what this node does not see has a revision, too
    for revision in sorted(bundles):
        yield from _bundled(revision, bundles[revision], more=False)
    for revision, bundle in _bundles(look.part, seen, bare).items():
        yield from _bundled(revision, bundle, more=True)


def _bundles(items: Iterable[Item], seen: frozenset[Where], bare: int) -> defaultdict[int, Bundle]:
    bundles: defaultdict[int, Bundle] = defaultdict(Bundle)
    for item in items:
        found = item.for_node(item.place.used in seen, item.place.hidden in seen)
        if isinstance(found, Put):
            bundles[item.revision].put.append((found, item.length))
        elif item.revision > bare:
            bundles[item.revision].remove.append(found)
    return bundles


def _bundled(revision: int, bundle: Bundle, more: bool) -> Iterator[ChangeMessage]:
    """Give a bundle as messages of about a megabyte; only the last may go without ``more``."""
    parts = list(_parts(bundle.put)) or [()]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        yield ChangeMessage(
            revision=revision,
            put=part,
            remove=tuple(bundle.remove) if last else (),
            expire=tuple(bundle.expire) if last else (),
            more=more or not last,
        )


def _parts(puts: Sequence[tuple[Put, int]]) -> Iterator[tuple[Put, ...]]:
    part: list[Put] = []
    size = 0
    for put, length in puts:
        if part and size + length > _MESSAGE_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(put)
        size += length
    if part:
        yield tuple(part)


def line(message: Value, protocol: int = PROTOCOL) -> bytes:
    return json.dumps(dumped(message, protocol), separators=(",", ":")).encode() + b"\n"
