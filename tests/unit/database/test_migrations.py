"""The migrated schema is the declared one, and nothing but a newer database stops a migration."""

import asyncio
import re
import sqlite3

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from edgeward.database import migrations, schema
from edgeward.database.engine import Database, current_revision, open_engine
from edgeward.database.migrations import Migrated, migrate
from edgeward.errors import Unavailable

COUNTED = text("SELECT id, revision, floor, history, events FROM counter")


@pytest.fixture(params=["sqlite", "postgresql"])
def unused_url(request, tmp_path):
    """A database without a schema."""
    if request.param == "sqlite":
        yield url(tmp_path)
        return
    server = request.getfixturevalue("postgres_server")
    made = server.fresh()
    yield made
    server.drop(made)


def url(path) -> str:
    return f"sqlite:///{path}/edgeward.db"


def by_steps(connection, target) -> None:
    """Make a schema as databases get it that were there before."""
    config = migrations.settings()
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def described(connection) -> dict[str, list[tuple]]:
    """Give all that a database knows of its tables, but for the order of their columns."""
    queries = {
        "sqlite": {
            "columns": (
                "SELECT t.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk FROM sqlite_master t"
                " JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name != 'alembic_version'"
            ),
            "indexes": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        },
        "postgresql": {
            "columns": (
                "SELECT table_name, column_name, data_type, character_maximum_length, collation_name, is_nullable,"
                " column_default FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name != 'alembic_version'"
            ),
            "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename != 'alembic_version'",
            "sequences": "SELECT sequencename, data_type, max_value FROM pg_sequences WHERE schemaname = 'public'",
            "constraints": (
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                " WHERE connamespace = 'public'::regnamespace AND conrelid != 'alembic_version'::regclass"
            ),
        },
    }  # fmt: skip
    asked = queries[connection.dialect.name]
    found = {what: connection.execute(text(query)).all() for what, query in asked.items()}
    # PostgreSQL counts on where a step puts a table beside one of its name; nothing goes by this name
    return {
        w: sorted(tuple(re.sub(r"_pkey1\b", "_pkey", str(v)) for v in row) for row in rows)
        for w, rows in found.items()
    }


async def test_a_new_database_gets_at_once_what_all_steps_together_make(unused_url):
    engine = open_engine(unused_url)
    await migrate(engine)
    async with engine.begin() as connection:
        at_once = await connection.run_sync(described)
        counted = (await connection.execute(COUNTED)).all()
        for name in reversed(schema.metadata.sorted_tables):
            await connection.execute(text(f"DROP TABLE {name}"))
        await connection.execute(text("DROP TABLE alembic_version"))
        await connection.run_sync(by_steps, migrations.LATEST)
        assert await connection.run_sync(described) == at_once
        assert (await connection.execute(COUNTED)).all() == counted
    await engine.dispose()


async def test_the_migrated_schema_equals_the_declared_one(unused_url):
    engine = open_engine(unused_url)
    async with engine.begin() as connection:
        await connection.run_sync(by_steps, migrations.LATEST)

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), schema.metadata)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_migrating_twice_keeps_the_store_and_its_identity(unused_url):
    engine = open_engine(unused_url)
    identities = []
    for _ in range(2):
        await migrate(engine)
        async with engine.connect() as connection:
            identities.append((await connection.execute(select(schema.counter))).all())
    await engine.dispose()

    assert len(identities[0]) == 1
    assert identities[0] == identities[1]


async def test_two_controllers_that_start_at_once_migrate_once(unused_url):
    engines = [open_engine(unused_url) for _ in range(3)]
    await asyncio.gather(*(migrate(engine) for engine in engines))

    async with Database(engines[0]).reading() as connection:
        assert await current_revision(connection) == 0
        assert len((await connection.execute(select(schema.counter))).all()) == 1
    for engine in engines:
        await engine.dispose()


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    engine = open_engine(url(tmp_path))
    await migrate(engine)
    await engine.dispose()
    with sqlite3.connect(tmp_path / "edgeward.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num='9999'")

    engine = open_engine(url(tmp_path))
    with pytest.raises(Unavailable, match="newer Edgeward"):
        await migrate(engine)
    await engine.dispose()


async def test_it_says_from_which_schema_to_which(unused_url):
    engine = open_engine(unused_url)
    assert await migrate(engine) == Migrated(None, migrations.LATEST)
    assert await migrate(engine) == Migrated(migrations.LATEST, migrations.LATEST)
    await engine.dispose()


async def test_the_first_schema_becomes_this_one_with_what_is_in_it(unused_url):
    engine = open_engine(unused_url)
    certificate = {
        "name": "a.example", "project": "p", "issuer": "local", "chain": "c", "sealed_key": b"k", "fingerprint": "f",
        "not_before": 1.0, "not_after": 2.5, "renew_at": 2.0, "revision": 7,
    }  # fmt: skip

    def first(connection):
        by_steps(connection, "0001")
        names = ", ".join(certificate)
        values = ", ".join(f":{name}" for name in certificate)
        connection.execute(text(f"INSERT INTO certificates ({names}) VALUES ({values})"), certificate)
        connection.execute(text("UPDATE counter SET revision = 7"))

    async with engine.begin() as connection:
        await connection.run_sync(first)
    assert await migrate(engine) == Migrated("0001", migrations.LATEST)
    async with engine.connect() as connection:
        (row,) = (await connection.execute(select(schema.certificates))).mappings().all()
        (history,) = (await connection.execute(select(schema.counter.c.history))).scalars().all()
    await engine.dispose()

    assert dict(row) == {
        **certificate, "algorithm": "ecdsa", "placed": 7, "source": "issued", "leader": None,
        "window_start": None, "window_end": None, "window_next": None,
    }  # fmt: skip
    assert history == 7, "what was changed before was not kept exactly: it cannot be undone"


async def test_a_file_that_is_no_database_is_named_as_such(tmp_path):
    (tmp_path / "edgeward.db").write_bytes(b"not a database" * 100)

    engine = open_engine(url(tmp_path))
    with pytest.raises(Unavailable, match="not a database"):
        await migrate(engine)
    await engine.dispose()


def test_the_latest_revision_is_known_without_alembic():
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(migrations.settings()).get_current_head() == migrations.LATEST
