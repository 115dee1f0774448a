"""The migrated schema is the declared one, and nothing but a newer database stops a migration."""

import asyncio
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


async def test_the_migrated_schema_equals_the_declared_one(unused_url):
    engine = open_engine(unused_url)
    await migrate(engine)

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
        config = migrations.settings()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
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
