"""What a start waits for: a database that answers, and whose schema is ours."""

from __future__ import annotations

import asyncio
from typing import Final

from edgeward import notify
from edgeward.database import seal_keys
from edgeward.database.engine import Database, Unreachable
from edgeward.database.migrations import migrate
from edgeward.log import logger
from edgeward.sealing import Seal
from edgeward.wrapping import Sources, Wrapping, gathered

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


async def seal_of(database: Database, sources: Sources, now: float) -> tuple[Seal, Wrapping]:
    """Give the seal, made at the first start, and what wraps its keys; raises Invalid with the remedy."""
    fresh = await seal_keys.fresh(database)
    wrapping = await asyncio.to_thread(gathered, sources, fresh)
    return await seal_keys.load(database, wrapping, now), wrapping
