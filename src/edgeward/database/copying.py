"""Moves everything of one store into an empty database: all of it, verified, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Table, delete, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from edgeward.database import schema
from edgeward.database.migrations import migrate
from edgeward.database.opening import reach
from edgeward.errors import Conflict, Unavailable

BATCH: Final = 1000
_OF_RUNS: Final = frozenset({"controllers", "leases", "seal_holders"})
"""What belongs to controllers that run; there are none."""
TABLES: Final[Sequence[Table]] = [
    table for name, table in sorted(schema.metadata.tables.items()) if name not in _OF_RUNS
]

Progress = Callable[[str, int, int], None]
"""Told of the table, how many of its rows are copied, and how many there are."""


async def copy(source: AsyncEngine, target: AsyncEngine, progress: Progress) -> Mapping[str, int]:
    """Copy a stopped store of SQLite to PostgreSQL and give the number of rows of each table.

    The store's identity and all revisions stay, so that nodes go on where they are. Raises Conflict where
    something runs on the source or the target is not empty, Unavailable where the copy differs or could not
    be made; then the target is as it was, but for its schema.
    """
    await migrate(source)
    await migrate(target)
    try:
        async with source.connect() as old, target.connect() as new:
            await _alone(old)
            await new.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            await empty(new)
            counts = {}
            for table in TABLES:
                counts[table.name] = await _copied(table, old, new, progress)
            await go_on_numbering(new, schema.metadata.tables)
            for table in TABLES:
                await _verify(table, old, new, counts[table.name])
            await new.commit()
            await old.rollback()
            return counts
    except DBAPIError as error:
        link = reach(target)
        reason = link.reason(error.orig or error) if link else str(error.orig)
        raise Unavailable(f"the copy was not made: {reason}; the target has nothing of it") from error


async def _alone(old: AsyncConnection) -> None:
    """Take the source for us: SQLite gives it only where no program has it open."""
    try:
        for statement in ("PRAGMA busy_timeout=200", "PRAGMA locking_mode=EXCLUSIVE", "BEGIN IMMEDIATE"):
            await old.exec_driver_sql(statement)
    except OperationalError as error:
        raise Conflict("the store is in use; stop its controller (edgeward up) first") from error


async def empty(new: AsyncConnection) -> None:
    """Take the target for us, too; raises Conflict where there is anything in it."""
    revision = (await new.execute(select(schema.counter.c.revision).with_for_update())).scalar_one()
    there = set(await new.run_sync(lambda connection: inspect(connection).get_table_names()))
    held = [table for table in schema.metadata.sorted_tables if table.name in there - {"counter"}]
    full = [table.name for table in held if await count(new, table)]
    if revision or full:
        what = f"it is at revision {revision}" if revision else f"there are {', '.join(full)}"
        raise Conflict(f"the target is not empty: {what}; give it a database of its own")
    await new.execute(delete(schema.counter))


async def _copied(table: Table, old: AsyncConnection, new: AsyncConnection, progress: Progress) -> int:
    total, done = await count(old, table), 0
    async for some in rows(table, old):
        await new.execute(insert(table), [dict(row) for row in some])
        done += len(some)
        progress(table.name, done, total)
    return done


async def _verify(table: Table, old: AsyncConnection, new: AsyncConnection, copied: int) -> None:
    """Compare what was written with what was to be copied, row by row, by its content."""
    before, after = await digest(table, old), await digest(table, new)
    if before != after or before[0] != copied:
        raise Unavailable(
            f"the copy of {table.name} is not what was copied ({before[0]} rows, then {after[0]});"
            " the target has nothing of it"
        )


class Content:
    """What rows say, whichever database they stand in; fed with them in the order of their keys."""

    def __init__(self) -> None:
        self.count, self._digest = 0, hashlib.sha256()

    def add(self, row: Mapping[str, Any]) -> None:
        self.count += 1
        self._digest.update(json.dumps([_plain(value) for value in row.values()]).encode() + b"\n")

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


async def digest(table: Table, connection: AsyncConnection) -> tuple[int, str]:
    """Give how many rows a table has, and the digest of what they say."""
    content = Content()
    async for some in rows(table, connection):
        for row in some:
            content.add(row)
    return content.count, content.digest


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, (bytes, memoryview)) else value


async def rows(table: Table, connection: AsyncConnection) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """Give all rows in the order of their keys, so many at once."""
    query = select(table).order_by(*table.primary_key.columns)
    async with connection.stream(query, execution_options={"yield_per": BATCH}) as found:
        async for some in found.mappings().partitions(BATCH):
            yield some  # type: ignore[misc]  # RowMapping is a Mapping of its own kind


async def go_on_numbering(new: AsyncConnection, tables: Mapping[str, Table]) -> None:
    """Have the rows to come numbered after those that were copied; SQLite does so by itself."""
    for table in TABLES:
        if new.dialect.name != "sqlite" and table.name in tables and _numbered(table):
            last = (await new.execute(select(func.max(table.c.id)))).scalar()
            if last is not None:
                sequence = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)")
                await new.execute(sequence, {"name": table.name, "last": last})


def _numbered(table: Table) -> bool:
    return table.c[0].name == "id" and table.c.id.autoincrement is True


async def count(connection: AsyncConnection, table: Table) -> int:
    return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
