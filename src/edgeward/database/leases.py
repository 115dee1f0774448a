"""What one controller, or node, does at a time: leases in the database, with a token that each holder grows.

A holder that was slow (paused, cut off) may still believe in its lease when another one has it. So whoever
writes under a lease asks for it once more in the same transaction: ``held`` locks its row, and the late
holder's write fails. Times are those of the database's own clock, where it has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Double, case, cast, extract, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Database, Writing
from edgeward.database.insertion import insert
from edgeward.errors import Conflict, EdgewardError
from edgeward.log import logger

SECONDS: Final = 10.0
NODES: Final = "vpn/"
"""What the names of leases begin with that nodes hold, not controllers."""
_FOR_EVER: Final = 1e9
_LOOK_AGAIN: Final = 2.0
_YIELD: Final = 1.0
_KEEP_UNUSED: Final = 86400.0
_leases = schema.leases
_log = logger("edgeward.database.leases")


class Taken(Conflict):
    """Another controller holds the lease by now; what was done under it is not to be written."""


@dataclass(frozen=True)
class Lease:
    """The right to do one piece of work; ``ends`` by the clock of this process's event loop."""

    name: str
    holder: str
    token: int
    ends: float


class Taking(NamedTuple):
    """What came of taking several. ``free_in``: after how many seconds the first of others' may be free."""

    held: frozenset[str]
    free_in: float | None


class Leases:
    """What one controller holds. ``clock`` gives Unix seconds and is used where the database has none.

    SQLite has one controller at a time: what it once held it holds until it ends.
    """

    def __init__(
        self, database: Database, holder: str, clock: Callable[[], float], seconds: float | None = None
    ) -> None:
        self._database = database
        self._holder = holder
        self._clock = clock
        self._seconds = seconds or (SECONDS if database.shared else _FOR_EVER)
        self._held: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The work that is done here."""
        return sorted(self._held)

    async def begin_alone(self) -> None:
        """Free what an earlier controller held on a database that only one works on."""
        if not self._database.shared:
            async with self._database.noting() as connection:
                ours = ~_leases.c.name.startswith(NODES)
                await connection.execute(update(_leases).where(ours).values(expires=0.0))

    async def take(self, name: str) -> Lease | None:
        """Give the lease, anew or for longer; None where another one holds it."""
        began = asyncio.get_running_loop().time()
        async with self._database.noting() as connection:
            token = (await connection.execute(self._taking(connection, name))).scalar_one_or_none()
        return None if token is None else Lease(name, self._holder, token, began + self._seconds)

    async def take_all(self, names: Collection[str], *, kept_only: bool) -> Taking:
        """Take several at once, anew or for longer.

        ``kept_only``: none that another one held last, though its time be over.
        """
        async with self._database.reading() as connection:
            left = _leases.c.expires - self._now(connection)
            query = select(_leases.c.name, _leases.c.holder, left).where(_leases.c.name.in_(names))
            rows = (await connection.execute(query)).all()
        others = {name: left for name, holder, left in rows if holder != self._holder}
        barred = {name for name, left in others.items() if left > 0 or kept_only}
        wanted = sorted(set(names) - barred)  # in one order, so that none waits for another one crosswise
        held = await self._take_these(wanted) if wanted else frozenset()
        return Taking(held, min((max(0.0, left) for left in others.values()), default=None))

    async def _take_these(self, names: Sequence[str]) -> frozenset[str]:
        async with self._database.noting() as connection:
            tokens = {
                name: (await connection.execute(self._taking(connection, name))).scalar_one_or_none()
                for name in names
            }
        return frozenset(name for name, token in tokens.items() if token is not None)

    async def wrest(self, name: str) -> None:
        """Take it whoever holds it: the other one hears of it when it asks for longer."""
        async with self._database.noting() as connection:
            await connection.execute(update(_leases).where(_leases.c.name == name).values(expires=0.0))
            await connection.execute(self._taking(connection, name))

    async def release(self, lease: Lease) -> None:
        """Let others have it at once; does nothing where they have it already."""
        mine = (_leases.c.name == lease.name) & (_leases.c.token == lease.token)
        async with self._database.noting() as connection:
            free = update(_leases).where(mine, _leases.c.holder == lease.holder).values(expires=0.0)
            await connection.execute(free)

    async def work(self, name: str, doing: Callable[[Lease], Awaitable[None]]) -> None:
        """Do something for as long as the lease is ours, whenever it is, until cancelled.

        Who holds other leases lets the others go first: so work is divided.
        """
        while True:
            try:
                lease = await self.take(name)
                if lease is not None:
                    await self._work(lease, doing)
            except EdgewardError as error:
                _log.warning("work of one controller waits", work=name, reason=str(error))
            await asyncio.sleep(_LOOK_AGAIN + _YIELD * len(self._held))

    async def sweep(self, writing: Writing) -> None:
        """Forget leases nobody has used for a day."""
        now = self._now(writing.connection)
        await writing.connection.execute(_leases.delete().where(_leases.c.expires < now - _KEEP_UNUSED))

    async def _work(self, lease: Lease, doing: Callable[[Lease], Awaitable[None]]) -> None:
        _log.info("works on what one controller does", work=lease.name, token=lease.token)
        self._held.add(lease.name)
        working = asyncio.ensure_future(doing(lease))
        keeping = asyncio.ensure_future(self._keep(lease))
        try:
            await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._held.discard(lease.name)
            for task in (working, keeping):
                task.cancel()
            results = await asyncio.gather(working, keeping, return_exceptions=True)
            with suppress(EdgewardError):
                await self.release(lease)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _keep(self, lease: Lease) -> None:
        """Hold on to it; returns, or raises, once it may be another one's."""
        time = asyncio.get_running_loop().time
        ends = lease.ends
        while time() < ends:
            await asyncio.sleep(min(self._seconds / 3, max(ends - time(), 0)))
            try:
                async with asyncio.timeout_at(ends):
                    longer = await self.take(lease.name)
            except (EdgewardError, TimeoutError):
                await asyncio.sleep(min(1.0, max(ends - time(), 0)))
                continue
            if longer is None or longer.token != lease.token:
                return
            ends = longer.ends

    def _taking(self, connection: AsyncConnection, name: str) -> Any:
        now = self._now(connection)
        row = {"name": name, "holder": self._holder, "token": 1, "expires": now + self._seconds}
        mine = (_leases.c.holder == self._holder) & (_leases.c.expires > now)
        token = _leases.c.token + case((mine, 0), else_=1)
        return (
            insert(connection, _leases)
            .values(row)
            .on_conflict_do_update(
                index_elements=[_leases.c.name],
                set_={"holder": self._holder, "token": token, "expires": now + self._seconds},
                where=or_(_leases.c.expires <= now, _leases.c.holder == self._holder),
            )
            .returning(_leases.c.token)
        )

    def _now(self, connection: AsyncConnection) -> ColumnElement[float]:
        if connection.dialect.name == "sqlite":
            return literal(self._clock())
        return cast(extract("epoch", func.clock_timestamp()), Double)


async def held(writing: Writing, lease: Lease | None) -> None:
    """Make sure of a lease until this transaction ends; raises Taken where another one has it.

    No lease at all is nothing to be sure of.
    """
    if lease is None:
        return
    query = select(_leases.c.holder, _leases.c.token).where(_leases.c.name == lease.name)
    row = (await writing.connection.execute(query.with_for_update())).one_or_none()
    if row is None or (row.holder, row.token) != (lease.holder, lease.token):
        raise Taken(f"another controller took over {lease.name}")
