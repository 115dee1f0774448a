"""The way from any earlier schema to this one: ``migrate(engine)`` at every start of a controller."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from edgeward.database.engine import Unreachable
from edgeward.database.opening import reach
from edgeward.database.schema import counter, metadata
from edgeward.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

LATEST = "0004"
"""The newest revision in ``versions/``. Only a database of an earlier one needs Alembic, which takes longer
to import and to run than the rest of a controller's start."""

_POSTGRES_LOCK = 0x45444745  # any number, the same in every controller
_LONGEST = 3600.0
_TRIES = 50
_REMEDIES = {
    "sqlite": "see that its disk has space and that this user may write there",
    "postgresql": "see that its disk has space and that this user owns the database",
}


@dataclass(frozen=True)
class Migrated:
    """From which revision of the schema to which; ``before`` is None where there was no schema."""

    before: str | None
    after: str


async def migrate(engine: AsyncEngine, target: str = LATEST) -> Migrated:
    """Bring the schema up to date, or to an earlier revision where it is older still, all steps or none.

    Raises Unreachable where the database does not answer, Unavailable where it cannot be done.
    """
    try:
        connection = await engine.connect()
    except (DBAPIError, OSError) as error:
        if engine.dialect.name == "sqlite":
            raise _failed(engine, error) from error
        raise Unreachable(f"the database does not answer: {_reason(engine, error)}") from error
    try:
        async with aclosing(connection), _patience(connection):
            await _begin(connection)
            before = await connection.run_sync(_upgrade, target)
            await connection.commit()
    except (DBAPIError, OSError) as error:
        raise _failed(engine, error) from error
    return Migrated(before, max(before or target, target))


async def _begin(connection: AsyncConnection) -> None:
    """Begin as the only one; where another one turns SQLite to WAL just now, no busy timeout waits for it."""
    for left in reversed(range(_TRIES)):
        try:
            for statement in _BEGINNING[connection.dialect.name]:
                await connection.exec_driver_sql(statement)
            return
        except OperationalError as error:
            if left == 0 or "locked" not in str(error.orig):
                raise
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _patience(connection: AsyncConnection) -> AsyncIterator[None]:
    """Wait as long as large tables take, and for another controller that does the same."""
    driver = (await connection.get_raw_connection()).driver_connection
    if connection.dialect.name == "sqlite" or driver is None:
        yield
        return
    usual = driver.patience
    driver.patience = _LONGEST
    try:
        yield
    finally:
        driver.patience = usual


_BEGINNING = {
    "sqlite": (
        "PRAGMA journal_mode=WAL",  # stays with the file
        "BEGIN IMMEDIATE",
    ),
    "postgresql": (
        "SET LOCAL statement_timeout = 0",  # large tables take their time
        "SET LOCAL lock_timeout = 0",
        f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})",
    ),
}


def settings() -> Config:
    """Give Alembic's settings: the scripts in this package, the connection handed over by us."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _upgrade(connection: Connection, target: str) -> str | None:
    before = revision_of(connection)
    if before is not None and target <= before <= LATEST:
        return before
    if before is not None and before > LATEST:
        raise Unavailable(
            f"the database was written by a newer Edgeward (its schema is {before}, this one knows {LATEST});"
            " start that version, or restore a backup"
        )
    if before is None and target == LATEST:
        _create(connection)
        return None
    from alembic import command
    from alembic.util.exc import CommandError

    config = settings()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, target)
    except CommandError as error:
        raise Unavailable(
            f"the database was not written by Edgeward ({error}); give it a database of its own"
        ) from error
    return before


def _create(connection: Connection) -> None:
    """Make the newest schema in an empty database, as all steps together do."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(counter.insert().values(id=1, store=str(uuid.uuid4()), revision=0, floor=0))
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:latest)"), {"latest": LATEST})


def revision_of(connection: Connection) -> str | None:
    """Give the revision of the schema; None where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _failed(engine: AsyncEngine, error: BaseException) -> Unavailable:
    name = engine.dialect.name
    return Unavailable(f"the database cannot be opened: {_reason(engine, error)}; {_REMEDIES[name]}")


def _reason(engine: AsyncEngine, error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    link = reach(engine)
    return str(cause) if link is None else link.reason(cause)
