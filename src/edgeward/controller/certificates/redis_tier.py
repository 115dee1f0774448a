"""Fills the tier in Redis from the store, on one of the controllers, and gives nodes what opens it.

The store is followed by revisions, and Redis remembers in its head how far it is. A Redis that lost its head
is filled from nothing, under another epoch: whatever else is still in there is not looked at any more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import changed_names, expirations
from edgeward.certificates import store as certificates
from edgeward.certificates.model import Kept
from edgeward.controller.declared.state import State
from edgeward.controller.nodes.reading import certificate_value, labels_of
from edgeward.database import schema
from edgeward.database.engine import Database, current_revision
from edgeward.database.leases import Lease, Taken
from edgeward.errors import Conflict, EdgewardError, Invalid
from edgeward.log import logger
from edgeward.placement import EVERYWHERE, NOWHERE, Where, holds, where
from edgeward.redis_tier.entries import MISS_SECONDS, Entry, Head, Names, group_key, head_key, head_of, sealed
from edgeward.redis_tier.place import Place
from edgeward.sealing import Seal

if TYPE_CHECKING:
    from edgeward.redis_tier.door import Door

TIMEOUT: Final = 0.5
_BEAT: Final = 0.2
_AT_ONCE: Final = 200
_RETRY: Final = 1.0
_LONGEST: Final = 30 * 86400.0
_MOST_MISSES: Final = 200
_SAY_AGAIN: Final = 60.0
_log = logger("edgeward.controller.certificates.redis_tier")


@dataclass(frozen=True)
class Batch:
    """What changed in the store behind a revision, up to ``revision``; ``more``: there is more behind."""

    revision: int
    kept: Sequence[Kept]
    gone: Collection[str]
    wheres: Mapping[str, Where]
    more: bool


def _door(place: Place) -> Door:
    from edgeward.redis_tier.door import Door  # a tenth of a start

    return Door(place, TIMEOUT)


class Tier:
    """Without a ``place`` there is no such tier, and nothing is done."""

    def __init__(
        self, database: Database, state: State, seal: Seal, place: Place | None, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._state = state
        self._seal = seal
        self._clock = clock
        self._door = None if place is None else _door(place)
        self._names: Names | None = None
        self._head: Head | None = None
        self._filled_with = b""
        self._missing: set[asyncio.Task[None]] = set()
        self._said_at = float("-inf")
        self.written = self.failures = 0
        self._problem: str | None = None

    async def keys(self, node: str) -> list[bytes]:
        """Give the keys of what this node may serve, and of the head."""
        async with self._database.reading() as connection:
            labels = await labels_of(connection, node)
        selectors = [where(selector) for _, selector in self._state.selecting()]
        places = {EVERYWHERE, *(place for place in selectors if holds(place, labels))}
        return [group_key(self._seal, place) for place in places]

    def shown(self) -> dict[str, Any] | None:
        """Give how Redis is, seen from here; ``filled``: this controller keeps it true just now."""
        if self._door is None:
            return None
        filled = self._head is not None and self._head.fresh(self._clock())
        return {
            "url": self._door.shown,
            "filled": filled,
            "revision": self._head.revision if self._head is not None else None,
            "written": self.written,
            "failures": self.failures,
            "problem": self._problem,
        }

    def missed(self, name: str, revision: int) -> None:
        """Tell nodes that a name was refused just now; it is let go where Redis does not take it."""
        if self._door is None or len(self._missing) >= _MOST_MISSES:
            return
        task = asyncio.create_task(self._miss(self._door, name, revision))
        self._missing.add(task)
        task.add_done_callback(self._missing.discard)

    async def work(self, lease: Lease) -> None:
        """Keep Redis filled, until cancelled; raises Taken."""
        assert self._door is not None
        self._head = None
        try:
            while True:
                try:
                    await self._round(self._door, lease)
                except Taken:
                    raise
                except EdgewardError as error:
                    self._failed(error)
                    self._problem, self._head = str(error), None
                    await asyncio.sleep(_RETRY)
        finally:
            self._problem = None  # whoever goes on with it has its own

    async def close(self) -> None:
        if self._door is not None:
            await self._door.close()

    # --- filling ---------------------------------------------------------------------------

    async def _round(self, door: Door, lease: Lease) -> None:
        """Bring Redis up to date, then say that it is; again at the next change, or soon."""
        at = self._clock()
        names = await self._named()
        head = self._head
        if head is None or self._filled_with != self._seal.key_id:
            head = await self._found(door, names, lease)
            self._filled_with = self._seal.key_id
        async with self._database.reading() as connection:
            batch = await self._batch(connection, head.revision, self._clock())
        fresh = replace(head, revision=batch.revision, at=0.0 if batch.more else at)
        await self._write(door, names, fresh, batch)
        self._problem, self._head = None, fresh
        if not batch.more:
            await self._database.changed_since(batch.revision, _BEAT)

    async def _found(self, door: Door, names: Names, lease: Lease) -> Head:
        """Give how far Redis is; nowhere, under a new epoch, where it does not say so."""
        (record,) = await door.values([names.head])
        beginning = Head(os.urandom(8).hex(), 0, 0.0, lease.token)
        if record is None:
            return beginning
        try:
            found = head_of(record, self._opener(), names.head)
        except Invalid as error:
            _log.warning("Redis is filled anew: its head is not ours", reason=str(error))
            return beginning
        async with self._database.reading() as connection:
            _, floor = await changed_names.store_and_floor(connection)
            now = await current_revision(connection)
        if not floor <= found.revision <= now:
            return beginning
        return replace(found, token=lease.token)

    async def _batch(self, connection: AsyncConnection, since: int, now: float) -> Batch:
        changed, upto = await changed_names.names_changed(connection, since, _AT_ONCE)
        current = await current_revision(connection)
        names = [name for name in changed if name != expirations.EVERY_NAME]
        names += await _withheld_since(connection, since, upto)
        found = await certificates.find_all(connection, self._seal, names, now)
        _, _, wheres = await self._state.places(connection, (), names)
        policy = self._state.policy()
        kept = [
            one
            for name, one in found.items()
            if one.certificate.name == name and wheres[name] != NOWHERE and not policy.withheld(name)
        ]
        gone = set(names) - {one.certificate.name for one in kept}
        return Batch(current if upto is None else upto, kept, gone, wheres, upto is not None)

    async def _write(self, door: Door, names: Names, head: Head, batch: Batch) -> None:
        now = self._clock()
        puts = []
        for kept in batch.kept:
            place = names.entry(head.epoch, kept.certificate.name)
            key = group_key(self._seal, batch.wheres[kept.certificate.name])
            entry = Entry(kept.certificate.project, kept.revision, certificate_value(kept.certificate))
            seconds = min(kept.certificate.not_after.timestamp() - now, _LONGEST)
            if seconds > 0:
                puts.append((place, sealed(entry, key, place), seconds))
        gone = [names.entry(head.epoch, name) for name in batch.gone]
        record = sealed(head, head_key(self._seal), names.head)
        await door.write(names.head, lambda there: self._not_behind(there, names, head), record, puts, gone)
        self.written += len(puts) + len(gone)

    def _not_behind(self, there: bytes | None, names: Names, head: Head) -> None:
        """Raise Taken where the holder of a later lease has written, Conflict where ours is not there."""
        if there is None:
            if self._head is not None:
                raise Conflict("Redis lost what it had; it is filled anew")
            return
        try:
            found = head_of(there, self._opener(), names.head)
        except Invalid:
            return  # garbage, or of a key that is retired by now: written over
        if found.token > head.token:
            raise Taken("another controller fills Redis by now")
        if self._head is not None and found != self._head:
            raise Conflict("Redis holds something else than was written; it is looked at anew")

    def _opener(self) -> Seal:
        return Seal(head_key(self._seal))

    async def _named(self) -> Names:
        if self._names is None:
            async with self._database.reading() as connection:
                store, _ = await changed_names.store_and_floor(connection)
            self._names = Names(store)
        return self._names

    async def _miss(self, door: Door, name: str, revision: int) -> None:
        try:
            names = await self._named()
            (record,) = await door.values([names.head])
            if record is None:
                return
            head = head_of(record, self._opener(), names.head)
            place = names.miss(head.epoch, name)
            domain = self._state.deciding(name)
            key = group_key(self._seal, EVERYWHERE if domain is None else where(domain.nodes))
            await door.put(place, sealed(Entry("", revision, None), key, place), MISS_SECONDS)
        except EdgewardError:
            self.failures += 1

    def _failed(self, error: EdgewardError) -> None:
        self.failures += 1
        now = asyncio.get_running_loop().time()
        if now - self._said_at >= _SAY_AGAIN:
            self._said_at = now
            _log.warning("Redis is not filled; nodes do without it", reason=str(error))


async def _withheld_since(connection: AsyncConnection, since: int, upto: int | None) -> list[str]:
    """Give the names that have certificates and were withheld, or given back, after a revision."""
    found: set[str] = set()
    for table in (schema.objects, schema.tombstones):
        query = select(table.c.name).where(table.c.kind == "withheld", table.c.revision > since)
        if upto is not None:
            query = query.where(table.c.revision <= upto)
        found.update((await connection.execute(query)).scalars())
    column = schema.certificates.c.name
    for wildcard in [name for name in found if name.startswith("*.")]:
        below = select(column).where(column.like(f"%{wildcard.removeprefix('*')}"))
        found.update((await connection.execute(below)).scalars())
    return sorted(found)
