"""Forgets what nobody needs any more, every hour, on one of the controllers."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from edgeward.access import store as tokens
from edgeward.certificates import history
from edgeward.controller.declared.changing import told
from edgeward.controller.nodes import root_logs
from edgeward.database.engine import Database
from edgeward.database.leases import Lease, Leases, Taken, held
from edgeward.declaration import audit, events, revisions, store
from edgeward.errors import EdgewardError
from edgeward.log import logger

_EVERY: Final = 3600.0
_log = logger("edgeward.controller.sweeping")


async def run(database: Database, leases: Leases, lease: Lease) -> None:
    """Forget old deletions, dead tokens, the oldest history and events, unused leases; until cancelled."""
    while True:
        try:
            async with database.writing() as writing:
                await held(writing, lease)
                now = time.time()
                await store.sweep(writing, now)
                await tokens.sweep(writing, now)
                told(await revisions.sweep(writing, now))
                await events.sweep(writing, now)
                await audit.sweep(writing, now, revisions.Bounds.seconds)
                await leases.sweep(writing)
                await root_logs.sweep(writing, now)
                await history.sweep(writing, now)
        except Taken:
            raise
        except EdgewardError as error:
            _log.warning("old rows stay for now", reason=str(error))
        await asyncio.sleep(_EVERY)
