"""The one door to the database: opening it, and transactions whose order is the order of revisions."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, cast, func, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from edgeward.database import schema
from edgeward.database.opening import CHANNEL, open_engine, reach
from edgeward.errors import Conflict, Invalid, Unavailable

if TYPE_CHECKING:
    from edgeward.database.postgres import Link, Lost

_WRITER_WAIT: Final = 30.0
_LONGEST_MESSAGE: Final = 7900
"""Bytes; PostgreSQL takes 8000 with the topic."""
_BUSY: Final = "the database is busy with other changes; try again"
_SQLSTATE_BUSY: Final = ("55P03", "57014")  # lock_not_available, query_canceled: by their time limits

__all__ = ["Database", "Unreachable", "Writing", "current_revision", "open_database", "open_engine"]


class Unreachable(Unavailable):
    """The database itself cannot be asked now; what was read before may be shown instead."""


class Database:
    """Read with ``reading()``, write with ``writing()``; followers wait on ``changed_since()``.

    Writers are put in order by the one row of ``counter`` (SQLite: BEGIN IMMEDIATE), so that a
    revision seen by a reader means that every smaller one was committed before it. On PostgreSQL any
    number of these may be open; ``listen()`` hears what the others commit and ``tell``.
    """

    def __init__(self, engine: AsyncEngine, link: Link | None = None) -> None:
        self.engine = engine
        self._link = link
        self._revision = 0
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()  # SQLite's own queue polls and is not fair
        self._failing: float | None = None
        self._told: dict[str, list[Callable[[str], None]]] = defaultdict(list)

    @property
    def shared(self) -> bool:
        """Whether other controllers may work on it, too."""
        return self.engine.dialect.name != "sqlite"

    @property
    def lost(self) -> Lost | None:
        """Since when and why it cannot be asked, as far as ``listen()`` knows."""
        return None if self._link is None else self._link.lost

    @property
    def away_since(self) -> float | None:
        """Since when (Unix seconds) it could not be asked; None where it was asked last with success."""
        lost = self.lost
        return self._failing if lost is None else lost.since

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view; raises Unreachable or Unavailable where the database cannot be asked."""
        with self._translated():
            async with self._connected() as connection:
                await _begin_reading(connection)
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        """One transaction, committed at the end, rolled back on any exception.

        Only one is open at a time, from before its first read: what it reads cannot change under it.
        """
        async with self._in_turn():
            with self._translated():
                async with self._connected() as connection:
                    await _begin_writing(connection)
                    writing = Writing(connection)
                    try:
                        yield writing
                    except BaseException:
                        await connection.rollback()
                        raise
                    await _finish(self._commit(writing))

    @asynccontextmanager
    async def noting(self) -> AsyncIterator[AsyncConnection]:
        """A small write that has no revision: beats, leases, reports. It waits for no other writer's rows
        where the database can do that.
        """
        if not self.shared:
            async with self.writing() as writing:
                yield writing.connection
            return
        with self._translated():
            async with self._connected() as connection:
                try:
                    yield connection
                except BaseException:
                    await connection.rollback()
                    raise
                await _finish(connection.commit())

    async def changed_since(self, revision: int, timeout: float) -> bool:
        """Wait until a commit we heard of went beyond ``revision``; False after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._revision > revision)
        except TimeoutError:
            return False
        return True

    async def saw(self, revision: int) -> None:
        """Wake those who wait, where somebody read a revision that was not heard of."""
        if revision > self._revision:
            async with self._changed:
                self._revision = max(self._revision, revision)
                self._changed.notify_all()

    # --- other controllers on the same database --------------------------------------------

    async def listen(self) -> None:
        """Hear what other controllers commit and tell, until cancelled; on SQLite there are none."""
        if self._link is not None:
            await self._link.listen(self)

    def on(self, topic: str, call: Callable[[str], None]) -> None:
        """Call with the text of every message of this topic, one's own too; with ``regained`` whenever
        messages may have been missed.
        """
        self._told[topic].append(call)

    async def tell(self, topic: str, text: str) -> None:
        """Tell every controller that listens now; nobody keeps it for the others."""
        if self.shared:
            async with self.noting() as connection:
                await _notify(connection, topic, text)

    async def heard(self, topic: str, text: str) -> None:
        if topic == "revision" and text.isdecimal():
            await self.saw(int(text))
        for call in self._told[topic]:
            call(text)

    async def regained(self) -> None:
        try:
            async with self.reading() as connection:
                await self.saw(await current_revision(connection))
        except Unavailable:
            return  # the listener finds out by itself
        await self.heard("regained", "")

    async def close(self) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        lost = self.lost
        if lost is not None:  # fail at once: whoever asks may have an answer without the database
            raise Unreachable(f"the database does not answer: {lost.reason}")
        try:
            connection = await self.engine.connect()
        except (OSError, DBAPIError) as error:
            self._failing = self._failing or time.time()
            raise Unreachable(f"the database does not answer: {self._reason(error)}") from error
        self._failing = None
        try:
            yield connection
        finally:
            await _finish(connection.close())

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_WRITER_WAIT):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable(_BUSY) from error
        try:
            yield
        finally:
            self._turn.release()

    async def _commit(self, writing: Writing) -> None:
        await writing.connection.commit()
        if writing.revision is not None:
            await self.saw(writing.revision)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Conflict(f"somebody else wrote the same at the same time: {self._reason(error)}") from error
        except (DataError, UnicodeEncodeError) as error:
            raise Invalid(f"this cannot be stored: {self._reason(error)}") from error
        except PoolTimeout as error:
            raise Unavailable("the database is busy: no connection to it became free; try again") from error
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _SQLSTATE_BUSY:
                raise Unavailable(_BUSY) from error
            kind = Unreachable if error.connection_invalidated else Unavailable
            if kind is Unreachable:
                self._failing = self._failing or time.time()
            raise kind(f"the database does not answer: {self._reason(error)}") from error

    def _reason(self, error: BaseException) -> str:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if self._link is not None:
            return self._link.reason(cause)
        return str(cause) or type(cause).__name__


class Writing:
    """A transaction being written; ``next_revision()`` is taken at most once, the first caller's."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.revision: int | None = None

    async def next_revision(self) -> int:
        """Give this transaction's revision, one more than any committed before it."""
        if self.revision is None:
            row = schema.counter.c.revision
            taken = update(schema.counter).values(revision=row + 1).returning(row)
            if self.connection.dialect.name != "sqlite":  # heard of by the others once it is committed
                taken = taken.returning(func.pg_notify(CHANNEL, "revision:" + cast(row, Text)))
            self.revision = int((await self.connection.execute(taken)).one()[0])
        return self.revision

    async def tell(self, topic: str, text: str) -> None:
        """Tell every controller once this is committed, and only then."""
        if self.connection.dialect.name != "sqlite":
            await _notify(self.connection, topic, text)


async def current_revision(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(schema.counter.c.revision))).scalar_one())


def open_database(url: str) -> Database:
    """Open ``sqlite:///PATH`` or ``postgresql://…``; connects at the first use. Raises Invalid."""
    engine = open_engine(url)
    return Database(engine, reach(engine))


async def _notify(connection: AsyncConnection, topic: str, text: str) -> None:
    message = f"{topic}:{text}"
    if len(message.encode()) > _LONGEST_MESSAGE:
        raise Invalid(f"a message of more than {_LONGEST_MESSAGE} bytes cannot be told to other controllers")
    await connection.execute(select(func.pg_notify(CHANNEL, message)))


async def _begin_reading(connection: AsyncConnection) -> None:
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN")
    else:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


async def _begin_writing(connection: AsyncConnection) -> None:
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        await connection.execute(select(schema.counter.c.revision).with_for_update())


async def _finish(work: Any) -> None:
    """Carry ``work`` to its end even when cancelled meanwhile: a commit happened or not, never unknown."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait({task})
        raise
