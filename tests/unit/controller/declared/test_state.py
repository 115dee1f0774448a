"""Keeping up with what is committed."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.controller.declared.state import State
from edgeward.database import schema
from edgeward.database.engine import Database, open_engine
from edgeward.database.migrations import migrate
from edgeward.log import set_up


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


async def test_what_is_not_valid_any_more_is_told_of_without_what_it_says(database_url: str) -> None:
    engine, told, root = open_engine(database_url), io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    await migrate(engine)
    database, state = Database(engine), State()
    try:
        set_up("test", stream=told)
        async with database.writing() as writing:
            place = {"kind": "alarms", "project": "default", "name": "alarms", "source": "api"}
            revision = await writing.next_revision()
            value = '{"webhook":"s3cret://me:s3cret@h"}'
            row = {**place, "value": value, "revision": revision, "placed": revision}
            await writing.connection.execute(insert(schema.objects).values(row))
        async with database.reading() as connection:
            await state.catch_up(connection)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        await database.close()

    assert "alarms/default/alarms" in told.getvalue()
    assert "webhook: write a URL" in told.getvalue()
    assert "s3cret" not in told.getvalue()
