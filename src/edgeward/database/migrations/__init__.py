"""The way from any earlier schema to this one: ``migrate(engine)`` at every start of a controller."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from edgeward.errors import Unavailable

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
    except CommandError as error:
        raise Unavailable(
            f"the database was written by a newer Edgeward ({error}); start that version, or restore a backup"
        ) from error
    except (DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise Unavailable(f"the database cannot be opened: {reason}") from error


def settings() -> Config:
    """Give Alembic's settings: the scripts in this package, the connection handed over by us."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _upgrade(connection: Connection) -> None:
    config = settings()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
