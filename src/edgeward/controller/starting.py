"""What a start waits for: a database that answers, and whose schema is ours."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sqlalchemy import select

from edgeward import notify
from edgeward.database import schema
from edgeward.database.engine import Database, Unreachable
from edgeward.database.migrations import migrate
from edgeward.errors import Invalid
from edgeward.log import logger
from edgeward.sealing import Seal, load_or_create

_AGAIN: Final = 2.0
_SAY_AGAIN: Final = 15
_log = logger("edgeward.controller.starting")


async def open_when_there(database: Database) -> None:
    """Bring the schema up to date as soon as the database answers, however long that takes.

    Ending instead would help nobody: whoever starts us would start us again, and say less.
    """
    tries = 0
    while True:
        try:
            await migrate(database.engine)
            return
        except Unreachable as error:
            if tries % _SAY_AGAIN == 0:
                _log.warning("waiting for the database", reason=str(error))
            notify.status(f"waiting for the database: {error}")
            notify.waiting_on(_AGAIN * 5)
        tries += 1
        await asyncio.sleep(_AGAIN)


async def seal_of(database: Database, key: Path) -> Seal:
    """Give the seal, made at the first start; raises Invalid where there is something it should open."""
    if not await asyncio.to_thread(key.exists):
        async with database.reading() as connection:
            if (await connection.execute(select(schema.authorities.c.id).limit(1))).first() is not None:
                raise Invalid(
                    f"{key} is not there, and what the database holds is sealed with it; copy it from the"
                    " state directory of another controller, or restore it from your backup"
                )
    return load_or_create(key)
