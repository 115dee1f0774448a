"""The one door to the database: opening it, and transactions whose order is the order of revisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from edgeward.database import schema
from edgeward.errors import Unavailable


class Database:
    """Read with ``reading()``, write with ``writing()``; followers wait on ``changed_since()``.

    Writers are put in order by the one row of ``counter`` (SQLite: BEGIN IMMEDIATE), so that a
    revision seen by a reader means that every smaller one was committed before it.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._revision = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view; raises Unavailable where the database cannot be asked."""
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (DBAPIError, OSError, TimeoutError) as error:
            raise Unavailable(f"the database does not answer: {_reason(error)}") from error

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        """One transaction, committed at the end, rolled back on any exception."""
        try:
            async with self._engine.connect() as connection:
                if connection.dialect.name == "sqlite":
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                writing = Writing(connection)
                try:
                    yield writing
                except BaseException:
                    await connection.rollback()
                    raise
                await connection.commit()
        except (DBAPIError, OSError, TimeoutError) as error:
            raise Unavailable(f"the database does not answer: {_reason(error)}") from error
        if writing.revision is not None:
            await self._announce(writing.revision)

    async def _announce(self, revision: int) -> None:
        async with self._changed:
            self._revision = max(self._revision, revision)
            self._changed.notify_all()

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
            self.revision = int((await self.connection.execute(select(row.c.revision))).scalar_one())
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
    connection.isolation_level = None  # transactions are begun by us, with BEGIN IMMEDIATE
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _reason(error: BaseException) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error) or type(error).__name__
