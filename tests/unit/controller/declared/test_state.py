"""Keeping up with what is committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.controller.declared.state import State
from edgeward.database.engine import Database, open_engine
from edgeward.database.migrations import migrate


class CountingDatabase(Database):
    """Counts how often somebody reads."""

    reads = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        self.reads += 1
        async with super().reading() as connection:
            yield connection


async def test_a_commit_that_changes_no_declared_object_is_looked_at_once(database_url: str) -> None:
    engine = open_engine(database_url)
    await migrate(engine)
    database = CountingDatabase(engine)
    following = asyncio.create_task(State().follow(database))
    try:
        async with database.writing() as writing:
            await writing.next_revision()
        await asyncio.sleep(0.6)
        assert database.reads == 1
    finally:
        following.cancel()
        await asyncio.wait({following})
        await database.close()
