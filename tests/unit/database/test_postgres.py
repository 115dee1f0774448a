"""PostgreSQL as we reach it: its address, news from other controllers, and no wait without an end."""

import asyncio
import contextlib

import pytest
from sqlalchemy import select, text

from edgeward.database import postgres, schema
from edgeward.database.engine import Unreachable, current_revision, open_database
from edgeward.database.migrations import migrate
from edgeward.errors import Conflict, Invalid, Unavailable


@contextlib.asynccontextmanager
async def opened(url):
    """A database that listens."""
    database = open_database(url)
    here = asyncio.Event()
    database.on("regained", lambda _: here.set())
    listening = asyncio.create_task(database.listen())
    try:
        async with asyncio.timeout(30):
            await here.wait()
        yield database
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        await database.close()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_an_address_is_read_as_libpq_does_and_every_wait_gets_a_bound(scheme):
    read = postgres.parameters(f"{scheme}://ann:p%40ss@a,b:5433/shop?sslmode=verify-full&options=-c%20x%3D1")

    assert (read["host"], read["port"], read["dbname"], read["user"]) == ("a,b", ",5433", "shop", "ann")
    assert (read["password"], read["sslmode"]) == ("p@ss", "verify-full")
    assert read["options"].endswith(" -c x=1")
    assert "statement_timeout" in read["options"] and int(read["connect_timeout"]) > 0


def test_what_the_operator_says_of_a_wait_stands():
    assert postgres.parameters("postgresql://h/d?connect_timeout=77")["connect_timeout"] == "77"


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/d?nonsense=1", "postgresql://u:secret@[::1/d"])
def test_a_wrong_address_is_refused_without_saying_its_password(url):
    with pytest.raises(Invalid) as caught:
        open_database(url)

    assert "EDGEWARD_DATABASE" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://h/d", "postgresql+asyncpg://h/d", "/var/lib/x.db", ""])
def test_another_kind_of_database_is_refused(url):
    with pytest.raises(Invalid, match="postgresql://"):
        open_database(url)


async def test_commits_of_others_are_heard_of_and_so_is_what_they_tell(postgres_url):
    async with opened(postgres_url) as here, opened(postgres_url) as there:
        told = asyncio.Queue()
        here.on("greeting", told.put_nowait)
        waiting = asyncio.create_task(here.changed_since(0, timeout=10))
        async with there.writing() as writing:
            await writing.next_revision()
            await writing.tell("greeting", "with: the commit")
        await there.tell("greeting", "ünd ohne")

        async with asyncio.timeout(30):
            assert await waiting
            assert [await told.get(), await told.get()] == ["with: the commit", "ünd ohne"]


async def test_what_is_not_committed_is_not_heard_of(postgres_url):
    async with opened(postgres_url) as here, opened(postgres_url) as there:
        with pytest.raises(RuntimeError):
            async with there.writing() as writing:
                await writing.next_revision()
                raise RuntimeError
        async with there.writing() as writing:
            await writing.next_revision()
        async with asyncio.timeout(30):
            assert await here.changed_since(0, timeout=10)
        assert not await here.changed_since(1, timeout=0.1)


async def test_a_message_that_does_not_fit_is_refused_before_it_harms_the_transaction(postgres_url):
    async with opened(postgres_url) as here:
        with pytest.raises(Invalid, match="bytes"):
            await here.tell("greeting", "x" * 8000)


async def test_a_listener_whose_connection_is_cut_comes_back_and_misses_nothing(
    postgres_server, postgres_url
):
    async with opened(postgres_url) as here, opened(postgres_url) as there:
        back = asyncio.Event()
        here.on("regained", lambda _: back.set())
        postgres_server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
            postgres_url.rpartition("/")[2],
        )
        async with there.writing() as writing:
            await writing.next_revision()

        async with asyncio.timeout(30):
            assert await here.changed_since(0, timeout=10)
            await back.wait()
        async with here.reading() as connection:  # no stale connection is handed out
            assert await current_revision(connection) == 1


async def test_writers_of_several_controllers_take_turns(postgres_url):
    async with opened(postgres_url) as here, opened(postgres_url) as there:
        seen = []

        async def write(database) -> None:
            async with database.writing() as writing:
                before = await current_revision(writing.connection)
                await asyncio.sleep(0.001)
                seen.append(await writing.next_revision())
                assert seen[-1] == before + 1

        await asyncio.gather(*(write(database) for database in (here, there) * 10))

        assert seen == list(range(1, 21))


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "x" * 5000])
async def test_values_only_sqlite_takes_are_the_askers_mistake(postgres_url, name):
    async with opened(postgres_url) as here:
        row = {"id": "1", "name": name, "hash": "", "role": "viewer", "project": "*", "created": 0.0}
        with pytest.raises(Invalid, match="cannot be stored"):
            async with here.writing() as writing:
                await writing.connection.execute(schema.tokens.insert().values(row))
        async with here.writing() as writing:  # and nothing is left of it
            assert (await writing.connection.execute(select(schema.tokens))).all() == []


async def test_names_are_in_the_order_of_their_bytes(postgres_url):
    names = ["B", "a", "Z", "ä", "_", "10", "9", "a-b", "a.b", "ab"]
    async with opened(postgres_url) as here:
        async with here.writing() as writing:
            rows = [
                {"id": n, "name": n, "hash": "", "role": "v", "project": "*", "created": 0.0} for n in names
            ]
            await writing.connection.execute(schema.tokens.insert(), rows)
        async with here.reading() as connection:
            query = select(schema.tokens.c.name).order_by(schema.tokens.c.name)
            assert list((await connection.execute(query)).scalars()) == sorted(names)


async def test_what_reads_cannot_write(postgres_url):
    async with opened(postgres_url) as here:
        with pytest.raises(Unavailable, match="read-only"):
            async with here.reading() as connection:
                await connection.execute(schema.tokens.delete())


async def test_a_statement_without_end_is_ended(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres.Connection, "patience", 0.3)
    async with opened(postgres_url) as here:
        with pytest.raises(Unreachable, match="in time"):
            async with here.reading() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))
        async with here.reading() as connection:
            assert await current_revision(connection) == 0


async def test_one_who_is_cancelled_does_not_wait_for_the_server(postgres_url):
    async with opened(postgres_url) as here:

        async def sleep() -> None:
            async with here.writing() as writing:
                await writing.connection.execute(text("SELECT pg_sleep(60)"))

        sleeping = asyncio.create_task(sleep())
        await asyncio.sleep(0.1)
        sleeping.cancel()
        async with asyncio.timeout(30):
            await asyncio.wait({sleeping})


async def test_a_server_that_is_not_there_is_unreachable_and_says_why(free_port):
    database = open_database(f"postgresql://ann:secret@127.0.0.1:{free_port()}/x")
    with pytest.raises(Unreachable, match="refused") as caught:
        async with database.reading():
            pass
    assert "secret" not in str(caught.value) + repr(caught.value.__cause__)
    await database.close()


async def test_a_database_of_another_encoding_is_refused(postgres_server):
    url = postgres_server.fresh("template0", "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    database = open_database(url)
    with pytest.raises(Invalid, match="UTF8"):
        async with database.reading():
            pass
    await database.close()
    postgres_server.drop(url)


async def test_a_server_that_is_too_old_is_refused_in_one_sentence(postgres_url, monkeypatch):
    monkeypatch.setattr(postgres, "OLDEST", 99)
    database = open_database(postgres_url)
    with pytest.raises(Invalid, match=r"PostgreSQL 1\d is too old; Edgeward needs 99 or newer"):
        async with database.reading():
            pass
    await database.close()


@pytest.mark.slow
async def test_a_paused_server_is_noticed_and_holds_up_nobody(pulled_postgres):
    database = open_database(pulled_postgres.url())
    await migrate(database.engine)
    await database.close()
    async with opened(pulled_postgres.url()) as here:
        asked = here.engine.connect()
        async with asked as connection:
            pulled_postgres.pause(True)
            asking = asyncio.create_task(connection.execute(text("SELECT 1")))
            async with asyncio.timeout(30):
                await asyncio.wait({asking})
            assert asking.exception() is not None
        assert here.lost is not None
        with pytest.raises(Unreachable):
            async with asyncio.timeout(0.5), here.reading():
                pass

        pulled_postgres.pause(False)
        async with asyncio.timeout(30):
            while here.lost is not None:
                await asyncio.sleep(0.05)
        async with here.reading() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_conflicts_are_told_apart_from_trouble(postgres_url):
    row = {"id": "1", "name": "a", "hash": "", "role": "viewer", "project": "*", "created": 0.0}
    async with opened(postgres_url) as here:
        with pytest.raises(Conflict):
            async with here.writing() as writing:
                await writing.connection.execute(schema.tokens.insert().values([row, row]))
