"""Writes everything that is to be kept into one file, at one moment, while controllers go on working."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import backup_file, schema
from edgeward.database.backup_file import Head, Writer
from edgeward.database.copying import TABLES, Content, Progress, count, rows
from edgeward.database.engine import Database, current_revision
from edgeward.database.migrations import LATEST, revision_of
from edgeward.errors import EdgewardError, Invalid
from edgeward.wrapping import Sources, gathered

FILES: Final = ("seal.key", "admin.token")
"""Of the state directory: what is in no database. Everything else there is made anew."""


@dataclass(frozen=True)
class Made:
    """``missing``: ids of the keys that the store is wrapped with and the backup does not hold."""

    head: Head
    rows: Mapping[str, int]
    files: tuple[str, ...]
    missing: frozenset[str]


async def back_up(database: Database, state_dir: Path, path: Path, now: float, progress: Progress) -> Made:
    """Write a backup to ``path``; raises Invalid where the store is of another version, Unavailable."""
    async with database.reading() as connection:
        if connection.dialect.name != "sqlite":
            await connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        found = await connection.run_sync(revision_of)
        if found != LATEST:
            raise Invalid(
                f"the schema of the store is {found or 'none'}, and this Edgeward knows {LATEST}; make the"
                " backup with the version that runs on it, or bring it up to date: edgeward database migrate"
            )
        head = Head(version("edgeward"), LATEST, now, await current_revision(connection))
        with backup_file.written(path, head) as writer:
            written = [name for name in FILES if _file(writer, state_dir / name)]
            counts = {table.name: await _table(writer, table.name, connection, progress) for table in TABLES}
        wrapped_by = (await connection.execute(select(schema.seal_keys.c.wrapped_by))).scalars().all()
        return Made(head, counts, tuple(written), frozenset(wrapped_by) - _held(state_dir))


def _file(writer: Writer, path: Path) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}; run this as the user Edgeward runs as") from error
    writer.line({"file": path.name, "content": content})
    return True


async def _table(writer: Writer, name: str, connection: AsyncConnection, progress: Progress) -> int:
    table, content, done = schema.metadata.tables[name], Content(), 0
    total = await count(connection, table)
    writer.line({"table": name, "columns": [column.name for column in table.columns]})
    async for some in rows(table, connection):
        for row in some:
            writer.line(list(row.values()))
            content.add(row)
        done += len(some)
        progress(name, done, total)
    writer.line({"table": name, "rows": content.count, "sha256": content.digest})
    return content.count


def _held(state_dir: Path) -> set[str]:
    """Give the ids of the keys in the state directory: those are in the backup."""
    try:
        return set(gathered(Sources(own=state_dir / "seal.key"), fresh=False).ids)
    except EdgewardError:
        return set()
