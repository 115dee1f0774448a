"""A store moved from SQLite to PostgreSQL: all of it, verified, or nothing."""

import os
import random
import subprocess
import sys

import pytest
from sqlalchemy import insert, select

from edgeward.database import copying, schema
from edgeward.database.copying import TABLES, copy
from edgeward.database.engine import current_revision, open_database
from edgeward.database.migrations import migrate
from edgeward.errors import Conflict, Unavailable


@pytest.fixture
def target(postgres_server):
    url = postgres_server.fresh()
    yield url
    postgres_server.drop(url)


def filled(table, number: int, chance: random.Random) -> dict[str, object]:
    """One row with something in each column."""
    row: dict[str, object] = {}
    for column in table.columns:
        kind = column.type.python_type
        if kind is bytes:
            row[column.name] = chance.randbytes(50)
        elif kind is float:
            row[column.name] = 1.7e9 + chance.random() * 10.0 ** chance.randint(-9, 9)
        elif kind is bool:
            row[column.name] = chance.random() < 0.5
        elif kind is int:
            row[column.name] = number + 1
        elif column.nullable and chance.random() < 0.3:
            row[column.name] = None
        else:
            row[column.name] = f"{column.name[:5]} ä\n'\"\\{{}} {number}"[: column.type.length or 99]
    return row


async def stored(path, rows: int) -> str:
    """A SQLite store with rows in every table, and its address."""
    url = f"sqlite:///{path}/edgeward.db"
    database = open_database(url)
    await migrate(database.engine)
    chance = random.Random(4)
    async with database.writing() as writing:
        for table in TABLES:
            if table.name == "counter":
                await writing.connection.execute(table.update().values(revision=777, floor=3))
            else:
                made = [filled(table, number, chance) for number in range(rows)]
                await writing.connection.execute(insert(table), made)
    await database.close()
    return url


async def everything(url):
    database = open_database(url)
    async with database.reading() as connection:
        found = {
            table.name: (await connection.execute(select(table).order_by(*table.primary_key))).all()
            for table in TABLES
        }
    await database.close()
    return found


async def copied(source, target, progress=lambda *_: None):
    old, new = open_database(source), open_database(target)
    try:
        return await copy(old.engine, new.engine, progress)
    finally:
        await old.close()
        await new.close()


async def test_everything_is_copied_as_it_is_and_goes_on_from_there(tmp_path, target, monkeypatch):
    monkeypatch.setattr(copying, "BATCH", 7)
    source = await stored(tmp_path, 30)
    told = []
    counts = await copied(source, target, lambda *said: told.append(said))

    assert await everything(target) == await everything(source)
    assert counts["objects"] == 30 and ("objects", 30, 30) in told
    database = open_database(target)
    async with database.writing() as writing:
        assert await writing.next_revision() == 778
        row = {**filled(schema.audit, 99, random.Random(1)), "revision": 778}
        del row["id"]
        result = await writing.connection.execute(
            insert(schema.audit).values(row).returning(schema.audit.c.id)
        )
        assert result.scalar_one() == 31
    await database.close()


async def test_a_target_that_holds_anything_is_left_as_it_is(tmp_path, target):
    source = await stored(tmp_path, 2)
    await copied(source, target)
    before = await everything(target)
    with pytest.raises(Conflict, match="not empty"):
        await copied(source, target)

    assert await everything(target) == before


async def test_a_copy_that_differs_is_not_kept(tmp_path, target, monkeypatch):
    source = await stored(tmp_path, 5)
    true_copy = copying._copied

    async def changing(table, old, new, progress):
        done = await true_copy(table, old, new, progress)
        if table.name == "tokens":
            await new.execute(table.update().where(table.c.created > 0).values(hash="changed on the way"))
        return done

    monkeypatch.setattr(copying, "_copied", changing)
    with pytest.raises(Unavailable, match="tokens"):
        await copied(source, target)
    database = open_database(target)
    async with database.reading() as connection:
        assert await current_revision(connection) == 0
        assert (await connection.execute(select(schema.objects))).all() == []
    await database.close()


async def test_a_store_in_use_is_not_copied(tmp_path, target):
    source = await stored(tmp_path, 1)
    running = open_database(source)
    async with running.reading() as connection:
        await current_revision(connection)
    with pytest.raises(Conflict, match="stop its controller"):
        await copied(source, target)
    await running.close()


def run(*arguments: str, **environment: str):
    argv = [sys.executable, "-m", "edgeward.cli", "database", *arguments]
    env = {k: v for k, v in os.environ.items() if not k.startswith("EDGEWARD_")} | environment
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_password_on_the_command_line_is_refused(tmp_path):
    done = run("copy", "--state-dir", str(tmp_path), "--to", "postgresql://u:secret@h/d")

    assert done.returncode == 2
    assert "PGPASSFILE" in done.stderr and "secret" not in done.stderr


async def test_the_command_moves_a_store_and_says_what_it_did(tmp_path, target):
    await stored(tmp_path, 3)
    done = run("copy", "--state-dir", str(tmp_path), EDGEWARD_DATABASE=target)
    assert (done.returncode, done.stderr.count("3/3") > 5) == (0, True), done.stderr
    assert "3 objects, 3 certificates" in done.stdout and "seal.key" in done.stdout

    again = run("migrate", "--state-dir", str(tmp_path), EDGEWARD_DATABASE=target)
    assert (again.returncode, "already" in again.stdout) == (0, True)
    twice = run("copy", "--state-dir", str(tmp_path), EDGEWARD_DATABASE=target)
    assert (twice.returncode, "not empty" in twice.stderr) == (1, True)
