"""The one door to the database: opening it, and transactions whose order is the order of revisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import event, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from edgeward.database import schema
from edgeward.errors import Conflict, Unavailable

_WRITER_WAIT = 30.0


class Database:
    """Read with ``reading()``, write with ``writing()``; followers wait on ``changed_since()``.

    Writers are put in order by the one row of ``counter`` (SQLite: BEGIN IMMEDIATE), so that a
    revision seen by a reader means that every smaller one was committed before it.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._revision = 0
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()  # SQLite's own queue polls and is not fair

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view; raises Unavailable where the database cannot be asked."""
        with _translated():
            async with self._connected() as connection:
                await _begin_reading(connection)
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        """One transaction, committed at the end, rolled back on any exception.

        Only one is open at a time, from before its first read: what it reads cannot change under it.
        """
        async with self._in_turn():
            with _translated():
                async with self._connected() as connection:
                    await _begin_writing(connection)
                    writing = Writing(connection)
                    try:
                        yield writing
                    except BaseException:
                        await connection.rollback()
                        raise
                    await _finish(self._commit(writing))

    async def changed_since(self, revision: int, timeout: float) -> bool:
        """Wait until a commit of this process went beyond ``revision``; False after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._revision > revision)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        try:
            connection = await self._engine.connect()
        except OSError as error:
            raise Unavailable(f"the database does not answer: {_reason(error)}") from error
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
            raise Unavailable("the database is busy with other changes; try again") from error
        try:
            yield
        finally:
            self._turn.release()

    async def _commit(self, writing: Writing) -> None:
        await writing.connection.commit()
        if writing.revision is not None:
            async with self._changed:
                self._revision = max(self._revision, writing.revision)
                self._changed.notify_all()


class Writing:
    """A transaction being written; ``next_revision()`` is taken at most once, the first caller's."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.revision: int | None = None

    async def next_revision(self) -> int:
        """Give this transaction's revision, one more than any committed before it."""
        if self.revision is None:
            row = schema.counter
            await self.connection.execute(update(row).values(revision=row.c.revision + 1))
            self.revision = await current_revision(self.connection)
        return self.revision


async def current_revision(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(schema.counter.c.revision))).scalar_one())


def open_engine(url: str) -> AsyncEngine:
    """Open ``sqlite+aiosqlite:///PATH`` (WAL, synchronous=FULL, 5 s busy timeout) or a PostgreSQL URL."""
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_pre_ping=True)
    engine = create_async_engine(url, connect_args={"timeout": 5.0}, pool_size=5, max_overflow=5)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, see _begin_reading
    cursor = connection.cursor()
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def _begin_reading(connection: AsyncConnection) -> None:
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN")
    else:
        await connection.execution_options(isolation_level="REPEATABLE READ")


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


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(f"somebody else wrote the same at the same time: {_reason(error)}") from error
    except (DBAPIError, PoolTimeout) as error:
        raise Unavailable(f"the database does not answer: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error) or type(error).__name__
