"""The tier in Redis as a node uses it: believed only beside a fresh head, and never waited for long.

Redis is asked for names that neither memory nor disk has, before the controller is. Where the feed has come
as far as an entry, the disk knows better, and the entry is old.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edgeward.errors import EdgewardError, Invalid, NotFound, Unavailable
from edgeward.log import logger
from edgeward.node.certificates.secrets import Kept
from edgeward.node.certificates.tiers import Counts, names_for
from edgeward.node.controllers.following import certificate_of
from edgeward.redis_tier.entries import Entry, Head, Names, entry_of, head_of
from edgeward.sealing import Seal

TIMEOUT: Final = 0.1
_FAILURES: Final = 3
"""After so many in a row Redis is not asked for a while."""
_PAUSE: Final = 1.0
_DOUBLINGS: Final = 3
_KEYS_AGAIN: Final = 5.0
_LOOK_EVERY: Final = 0.25
_MOST_AHEAD: Final = 10_000
_log = logger("edgeward.node.certificates.redis_tier")

Fetch = Callable[[], Awaitable[Sequence[bytes]]]
"""Asks a controller for the keys of what this node may open."""


class Values(Protocol):
    """What is asked of Redis; raises Unavailable."""

    async def values(self, names: Sequence[str]) -> list[bytes | None]: ...


@dataclass(frozen=True)
class Standing:
    """How far this node is: what was true in ``store`` up to ``revision`` it knows itself."""

    store: str
    revision: int


class RedisTier:
    """``standing`` gives how far the node is, ``doubt(names)`` has copies of these names looked at anew.

    ``clock`` gives Unix seconds: heads tell by it how old they are.
    """

    def __init__(
        self,
        door: Values,
        standing: Callable[[], Standing],
        fetch: Fetch,
        doubt: Callable[[set[str]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._door = door
        self._standing = standing
        self._fetch = fetch
        self._doubt = doubt
        self._clock = clock
        self._seal: Seal | None = None
        self._wanted, self._keys_at = True, float("-inf")
        self._failing, self._closed_until = 0, float("-inf")
        self._head: Head | None = None
        self._ahead: dict[str, int] = {}
        """Names that were served from Redis ahead of the feed, with the revision of their entries."""
        self.counts = Counts()
        self.ignored: Counter[str] = Counter()
        """What was found and not believed, by the reason."""
        self.failures = 0

    @property
    def open(self) -> bool:
        """Whether Redis would be asked now."""
        return time.monotonic() >= self._closed_until

    async def find(self, name: str) -> Kept | None:
        """Give the certificate that Redis has for a canonical name; None where the controller is to be asked.

        Raises NotFound where a controller refused the name a moment ago.
        """
        try:
            kept = await self._find(name)
        except NotFound:
            self.counts.hits += 1
            raise
        except EdgewardError as error:
            _log.debug("Redis has no answer", name=name, reason=str(error))
            kept = None
        if kept is None:
            self.counts.misses += 1
            return None
        self.counts.hits += 1
        self._ahead[name] = kept.revision
        while len(self._ahead) > _MOST_AHEAD:
            del self._ahead[next(iter(self._ahead))]
        return kept

    async def has(self, name: str) -> Kept | None:
        """Give what Redis has, for people to see."""
        try:
            return await self._find(name)
        except EdgewardError:
            return None

    async def run(self) -> None:
        """Keep the keys, and look at the head while names are served ahead of the feed: after a change they
        are asked for again.
        """
        while True:
            await self.keep_keys()
            await self._look()
            await asyncio.sleep(_LOOK_EVERY)

    async def keep_keys(self) -> None:
        """Ask a controller for the keys where they are wanted; without an answer those held stay."""
        now = time.monotonic()
        if not self._wanted or now - self._keys_at < (_PAUSE if self._seal is None else _KEYS_AGAIN):
            return
        self._keys_at = now
        try:
            first, *others = await self._fetch()
            seal = Seal(first)
            seal.hold(first, others, first)
        except (EdgewardError, ValueError) as error:
            _log.debug("no keys for Redis", reason=str(error))
            return
        self._seal, self._wanted = seal, False

    def want_keys(self) -> None:
        """Ask for the keys again: another controller is followed, or the node's labels changed."""
        self._wanted, self._keys_at = True, float("-inf")

    async def _look(self) -> None:
        known = self._standing().revision
        self._ahead = {name: at for name, at in self._ahead.items() if at > known}
        before = self._head
        if not self._ahead or before is None or not self.open:
            return
        try:
            head, _ = await self._read([])
        except EdgewardError:
            return
        if head is not None and (head.epoch, head.revision) != (before.epoch, before.revision):
            names, self._ahead = set(self._ahead), {}
            self._doubt(names)

    # --- lookups ---------------------------------------------------------------------------

    async def _find(self, name: str) -> Kept | None:
        standing = self._standing()
        if not self.open or not standing.store:
            return None
        epoch = None if self._head is None else self._head.epoch
        for _ in range(2):
            there, names = Names(standing.store), names_for(name)
            places = (
                []
                if epoch is None
                else [*(there.entry(epoch, one) for one in names), there.miss(epoch, name)]
            )
            head, records = await self._read(places)
            if head is None:
                return None
            if head.epoch == epoch:
                found = [self._entry(*pair) for pair in zip(records, places, strict=True)]
                return self._chosen(name, names, found, standing)
            epoch = head.epoch
        return None

    def _chosen(
        self, name: str, names: Sequence[str], found: Sequence[Entry | None], standing: Standing
    ) -> Kept | None:
        for one, entry in zip(names, found, strict=False):
            if entry is None or entry.value is None:
                continue
            if entry.revision <= standing.revision:
                self.ignored["old"] += 1
                continue
            kept = certificate_of(entry.value, one, entry.project, entry.revision)
            if kept.not_after > self._clock():
                return kept
            self.ignored["expired"] += 1
        miss = found[-1]
        if miss is not None and miss.value is None and miss.revision >= standing.revision:
            raise NotFound(f"a controller refused {name} a moment ago")
        return None

    async def _read(self, places: Sequence[str]) -> tuple[Head | None, list[bytes | None]]:
        """Give the head, None where it is not to be believed, and what stands in these places beside it."""
        name = Names(self._standing().store).head
        try:
            record, *records = await self._door.values([name, *places])
        except Unavailable:
            self.failures += 1
            self._failed()
            raise
        self._failing = 0
        head = None if record is None else self._believed(record, name)
        if head is not None:
            self._head = head
        return head, records

    def _believed(self, record: bytes, name: str) -> Head | None:
        seal = self._opener(record)
        if seal is None:
            return None
        try:
            head = head_of(record, seal, name)
        except Invalid:
            self.ignored["head"] += 1
            return None
        now, last = self._clock(), self._head
        # one that is from the future by now was read before the clock was put back
        if not head.fresh(now) or (last is not None and last.fresh(now) and head.at < last.at):
            self.ignored["stale"] += 1
            return None
        return head

    def _entry(self, record: bytes | None, place: str) -> Entry | None:
        seal = None if record is None else self._opener(record)
        if record is None or seal is None:
            return None
        try:
            return entry_of(record, seal, place)
        except Invalid:
            self.ignored["not ours"] += 1
            return None

    def _opener(self, record: bytes) -> Seal | None:
        """Give what opens; the keys are asked for where a record is sealed with one that is not held."""
        if self._seal is None or not self._seal.opens(record):
            self._wanted = True
        return self._seal

    def _failed(self) -> None:
        self._failing += 1
        if self._failing >= _FAILURES:
            pause = _PAUSE * 2 ** min(self._failing - _FAILURES, _DOUBLINGS)
            self._closed_until = time.monotonic() + pause
