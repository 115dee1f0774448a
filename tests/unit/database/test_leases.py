"""Leases: one holder at a time, a token that grows, and no write of a holder that is late."""

import asyncio

import pytest
from sqlalchemy import insert, select

from edgeward.database import schema
from edgeward.database.engine import open_database
from edgeward.database.leases import Leases, Taken, held
from edgeward.database.migrations import migrate


class Clock:
    """SQLite has none of its own, so that one is moved by hand; PostgreSQL's goes by itself."""

    def __init__(self) -> None:
        self.moved = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.moved


@pytest.fixture
async def database(database_url):
    database = open_database(database_url)
    await migrate(database.engine)
    yield database
    await database.close()


@pytest.fixture
def clock():
    return Clock()


def leases(database, clock, holder, seconds=30.0) -> Leases:
    return Leases(database, holder, clock, seconds)


async def test_one_holder_at_a_time_and_the_token_grows_with_each(database, clock):
    here, there = leases(database, clock, "here"), leases(database, clock, "there")
    first = await here.take("renewal")

    assert await there.take("renewal") is None
    assert (await here.take("renewal")).token == first.token
    await here.release(first)
    second = await there.take("renewal")
    assert second.token > first.token
    assert await here.take("renewal") is None
    assert (await here.take("other")).token == 1


async def test_of_many_who_ask_at_once_one_gets_it(database, clock):
    asking = [leases(database, clock, f"c{n}").take("renewal") for n in range(8)]
    given = [lease for lease in await asyncio.gather(*asking) if lease is not None]

    assert len(given) == 1


async def test_who_is_gone_frees_the_work_after_the_lease_s_time(database, clock):
    gone = await leases(database, clock, "gone", 0.3).take("renewal")
    there = leases(database, clock, "there")
    async with asyncio.timeout(30):
        while (lease := await there.take("renewal")) is None:
            await asyncio.sleep(0.05)

    assert lease.token == gone.token + 1


async def test_a_late_holders_write_fails_and_leaves_nothing(database, clock):
    late = await leases(database, clock, "late", 0.05).take("renewal")
    await asyncio.sleep(0.1)
    there = await leases(database, clock, "there").take("renewal")
    row = {"id": "1", "name": "n", "hash": "", "role": "viewer", "project": "*", "created": 0.0}

    with pytest.raises(Taken):
        async with database.writing() as writing:
            await writing.connection.execute(insert(schema.tokens).values(row))
            await held(writing, late)
    async with database.writing() as writing:
        await held(writing, there)
        assert (await writing.connection.execute(select(schema.tokens))).all() == []


async def test_releasing_what_another_one_holds_does_nothing(database, clock):
    here, there = leases(database, clock, "here", 0.05), leases(database, clock, "there")
    old = await here.take("renewal")
    await asyncio.sleep(0.1)
    await there.take("renewal")
    await here.release(old)

    assert await here.take("renewal") is None


async def test_work_moves_to_another_controller_when_the_first_one_ends(database, clock):
    done = asyncio.Queue()

    async def working(name: str) -> None:
        async def work(lease) -> None:
            done.put_nowait((name, lease.token))
            await asyncio.sleep(60)

        await leases(database, clock, name).work("renewal", work)

    first = asyncio.create_task(working("first"))
    assert await asyncio.wait_for(done.get(), 30) == ("first", 1)
    second = asyncio.create_task(working("second"))
    await asyncio.sleep(0.1)
    first.cancel()
    try:
        assert await asyncio.wait_for(done.get(), 30) == ("second", 2)
    finally:
        second.cancel()
        await asyncio.wait({first, second})


async def test_work_stops_when_the_lease_is_another_ones(database, clock):
    stopped = asyncio.Event()

    async def work(lease) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    here = leases(database, clock, "here", 0.6)
    working = asyncio.create_task(here.work("renewal", work))
    async with asyncio.timeout(30):
        while not here.names:
            await asyncio.sleep(0.01)
    async with database.noting() as connection:
        await connection.execute(schema.leases.update().values(holder="there", token=9, expires=9e18))
    async with asyncio.timeout(30):
        await stopped.wait()
    working.cancel()
    await asyncio.wait({working})


async def test_a_database_for_one_forgets_what_an_earlier_controller_held(tmp_path, clock):
    database = open_database(f"sqlite:///{tmp_path}/edgeward.db")
    await migrate(database.engine)
    old = await Leases(database, "old", clock).take("renewal")
    fresh = Leases(database, "fresh", clock)
    assert await fresh.take("renewal") is None
    await fresh.begin_alone()

    assert (await fresh.take("renewal")).token == old.token + 1
    await database.close()
