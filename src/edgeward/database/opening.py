"""Engines for SQLite and PostgreSQL: how each is connected to, and how many connections there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from edgeward.errors import Invalid

if TYPE_CHECKING:
    from edgeward.database.postgres import Link

CHANNEL: Final = "edgeward"
_CONNECTIONS: Final = 8
_POOL_WAIT: Final = 10.0
_links: WeakKeyDictionary[Engine, Link] = WeakKeyDictionary()


def open_engine(url: str) -> AsyncEngine:
    """Open ``sqlite:///PATH`` (synchronous=FULL, 5 s busy timeout; migrating turned it to WAL) or
    ``postgresql://…``, any address libpq takes; raises Invalid for anything else.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("sqlite", "sqlite+aiosqlite"):
        return _sqlite(f"sqlite+aiosqlite://{rest}")
    if scheme in ("postgresql", "postgres"):
        return _postgres(url)
    raise Invalid("EDGEWARD_DATABASE is postgresql://USER@HOST:PORT/DATABASE; unset, it is SQLite")


def reach(engine: AsyncEngine) -> Link | None:
    """Give the link an engine was opened with; SQLite has none."""
    return _links.get(engine.sync_engine)


def _sqlite(url: str) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"timeout": 5.0}, pool_size=5, max_overflow=5)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "invalidate", _roll_back)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, see engine.py
    cursor = connection.cursor()
    for pragma in ("busy_timeout=5000", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


_rolling_back: set[asyncio.Future[None]] = set()


def _roll_back(connection: Any, _record: Any, _error: BaseException | None) -> None:
    """Undo what a cancelled task left open, before its connection is closed.

    SQLite keeps a closed connection, and the lock of its transaction, until its last cursor goes: with
    the traceback that holds it, some time later. What is queued here runs before the close.
    """
    task = asyncio.ensure_future(connection.driver_connection.rollback())
    _rolling_back.add(task)
    task.add_done_callback(_rolled_back)


def _rolled_back(task: asyncio.Future[None]) -> None:
    _rolling_back.discard(task)
    if not task.cancelled():
        task.exception()  # a connection that is gone has nothing to undo


def _postgres(url: str) -> AsyncEngine:
    from edgeward.database import postgres  # psycopg takes a tenth of a second to import

    link = postgres.Link(postgres.parameters(url))
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=link.connection,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_POOL_WAIT,
        use_native_hstore=False,  # else the first connection looks for a type of that name
    )

    def check(connection: Any, _record: Any, _proxy: Any) -> None:
        if not postgres.alive(connection.driver_connection):
            raise DisconnectionError("the server ended this connection")

    event.listen(engine.sync_engine, "checkout", check)
    _links[engine.sync_engine] = link
    return engine
