"""The way from any earlier schema to this one: ``migrate(engine)`` at every start of a controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from edgeward.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

LATEST = "0002"
"""The newest revision in ``versions/``: a database that is there needs no Alembic, which takes a third of
a controller's start to import."""

_POSTGRES_LOCK = 0x45444745  # any number, the same in every controller


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema up to date, all steps or none; raises Unavailable where that cannot be done."""
    try:
        async with engine.connect() as connection:
            sqlite = connection.dialect.name == "sqlite"
            await connection.exec_driver_sql(
                "BEGIN IMMEDIATE" if sqlite else f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})"
            )
            await connection.run_sync(_upgrade)
            await connection.commit()
    except (DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        remedy = "see that its disk has space and that this user may write there"
        raise Unavailable(f"the database cannot be opened: {reason}; {remedy}") from error


def settings() -> Config:
    """Give Alembic's settings: the scripts in this package, the connection handed over by us."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _upgrade(connection: Connection) -> None:
    if _revision(connection) == LATEST:
        return
    from alembic import command
    from alembic.util.exc import CommandError

    config = settings()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Unavailable(
            f"the database was written by a newer Edgeward ({error}); start that version, or restore a backup"
        ) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
