"""Brings a backup into an empty store, of SQLite or PostgreSQL whichever it was of: all of it, or nothing."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from edgeward import durable
from edgeward.database import backup_file, schema
from edgeward.database.backup_file import Head
from edgeward.database.copying import BATCH, Progress, digest, empty, go_on_numbering
from edgeward.database.migrations import LATEST, migrate
from edgeward.database.opening import open_engine, reach
from edgeward.errors import Conflict, Invalid, Unavailable


async def restore_file(path: Path, state_dir: Path, progress: Progress) -> Head:
    """Make the store ``STATE_DIR/edgeward.db``; raises Conflict where there is one."""
    own, draft = state_dir / "edgeward.db", state_dir / "edgeward.db.restoring"
    head = _prepared(path, own, draft)
    engine = open_engine(f"sqlite:///{draft}")
    try:
        await _restore(engine, path, head, state_dir, progress)
        async with engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        await engine.dispose()
    _put_in_place(draft, own)
    return head


async def restore_database(path: Path, url: str, state_dir: Path, progress: Progress) -> Head:
    """Fill an empty database of PostgreSQL; raises Conflict where anything is in it."""
    head = backup_file.checked(path)
    engine = open_engine(url)
    try:
        await _restore(engine, path, head, state_dir, progress)
    finally:
        await engine.dispose()
    return head


async def _restore(engine: AsyncEngine, path: Path, head: Head, state_dir: Path, progress: Progress) -> None:
    if head.schema > LATEST:
        raise Invalid(f"{path} is of a newer Edgeward ({head.version}); restore it with that")
    made = await migrate(engine, head.schema)
    if made.before is not None and made.before > head.schema:
        raise Conflict(f"the target has a newer schema than the backup ({made.before}); give it an empty one")
    try:
        async with engine.connect() as connection:
            if engine.dialect.name != "sqlite":
                await connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            else:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            await empty(connection)
            tables = await _tables(connection, head)
            await _fill(connection, path, tables, state_dir, progress)
            await go_on_numbering(connection, tables)
            # revisions that come now are others than those some node may have seen before: it starts over
            await connection.execute(tables["counter"].update().values(store=str(uuid.uuid4())))
            await connection.commit()
    except DBAPIError as error:
        link = reach(engine)
        reason = link.reason(error.orig or error) if link else str(error.orig)
        raise Unavailable(f"the backup was not restored: {reason}; the target has nothing of it") from error
    await migrate(engine)


async def _tables(connection: AsyncConnection, head: Head) -> Mapping[str, Table]:
    """Give the tables of the backup's version, which the database has now."""
    if head.schema == LATEST:
        return schema.metadata.tables
    then = MetaData()
    await connection.run_sync(then.reflect)
    return then.tables


async def _fill(
    connection: AsyncConnection, path: Path, tables: Mapping[str, Table], state_dir: Path, progress: Progress
) -> None:
    for line in (found := backup_file.lines(path)):
        if not isinstance(line, dict):
            raise Invalid(f"{path} is not as backups are; take another one")
        if "file" in line:
            _put(state_dir, *backup_file.file_of(line))
            continue
        table = tables[line["table"]]
        await _rows(connection, table, line["columns"], found, progress)


async def _rows(
    connection: AsyncConnection, table: Table, columns: list[str], found: Iterator[Any], progress: Progress
) -> None:
    """Write the rows of a table, up to the line that ends it, and see that the database holds them so."""
    done, rows, end = 0, list[dict[str, Any]](), None
    for line in found:
        if isinstance(line, dict):
            end = line
        else:
            rows.append(dict(zip(columns, backup_file.values(line), strict=True)))
        if rows and (end is not None or len(rows) == BATCH):
            await connection.execute(insert(table), rows)
            done += len(rows)
            rows = []
        if end is not None:
            break
    end = end or {"rows": -1, "sha256": ""}
    if done:
        progress(table.name, done, done)
    if await digest(table, connection) != (end["rows"], end["sha256"]):
        raise Unavailable(f"what was written of {table.name} is not what the backup holds; nothing was kept")


def _prepared(path: Path, own: Path, draft: Path) -> Head:
    """Check the backup, and that there is room for it."""
    if own.exists():
        raise Conflict(f"{own} is there; stop what runs on it and move it away, or name another --state-dir")
    head = backup_file.checked(path)
    try:
        own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove(draft)
    except OSError as error:
        raise Invalid(f"{own.parent}: {error.strerror}; name another --state-dir") from error
    return head


def _put_in_place(draft: Path, own: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    _give(draft, own.parent)
    draft.replace(own)
    durable.sync(own.parent)
    _remove(draft)


def _give(path: Path, directory: Path) -> None:
    """Have root leave behind what belongs to the directory's owner, as whom Edgeward runs."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _remove(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def _put(state_dir: Path, name: str, content: bytes) -> None:
    """Write a small file; one that is there already stays, and must say the same where it is a key."""
    path = state_dir / Path(name).name
    if path.exists():
        if name == "seal.key" and path.read_bytes() != content:
            raise Conflict(f"{path} is another key than that of the backup; move it away first")
        return
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    durable.create(draft, content)
    _give(draft, state_dir)
    draft.replace(path)
