"""Small writes share transactions, and each is there as a whole or not at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import insert, select

from edgeward.certificates.orders.batch import Batch
from edgeward.database.leases import Leases, Taken
from edgeward.database.schema import pauses
from edgeward.errors import Refused
from tests.unit.certificates.issuing import opened


def row(name: str) -> dict[str, object]:
    return {"account": "a", "scope": "domain", "key": name, "until": 0.0, "reason": ""}


async def stored(database) -> set[str]:
    async with database.reading() as connection:
        return set((await connection.execute(select(pauses.c.key))).scalars())


@pytest.fixture
async def database(database_url):
    async with opened(database_url) as made:
        yield made


async def test_one_that_fails_takes_no_other_along(database):
    batch = Batch(database, None)
    worker = asyncio.create_task(batch.run())

    async def put(name: str, fails: bool) -> None:
        async def change(writing, _):
            await writing.connection.execute(insert(pauses).values(row(name)))
            if fails:
                raise Refused(f"not {name}")

        await batch.write(change, None)

    told = await asyncio.gather(*(put(f"n{i}", i == 3) for i in range(8)), return_exceptions=True)
    worker.cancel()

    assert [str(one) for one in told if one is not None] == ["not n3"]
    assert await stored(database) == {f"n{i}" for i in range(8) if i != 3}


async def test_who_lost_the_lease_is_told_and_nothing_is_written(database):
    leases = Leases(database, "me", lambda: 1000.0, seconds=5)
    lease = await leases.take("orders")
    batch = Batch(database, lease)
    worker = asyncio.create_task(batch.run())
    await leases.release(lease)
    assert await Leases(database, "another", lambda: 1000.0).take("orders") is not None

    async def change(writing, _):
        await writing.connection.execute(insert(pauses).values(row("late")))

    with pytest.raises(Taken):
        await batch.write(change, None)
    worker.cancel()
    assert await stored(database) == set()


async def test_what_nobody_waits_for_any_more_is_not_written(database):
    batch = Batch(database, None)

    async def put(writing, names):
        await writing.connection.execute(insert(pauses), [row(name) for name in names])

    given_up = asyncio.create_task(batch.write(put, "given up"))
    await asyncio.sleep(0)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    worker = asyncio.create_task(batch.run())
    await batch.write(put, "awaited")
    worker.cancel()

    assert await stored(database) == {"awaited"}


async def test_items_of_one_change_are_written_together(database):
    batch = Batch(database, None)
    calls: list[int] = []

    async def put(writing, names):
        calls.append(len(names))
        await writing.connection.execute(insert(pauses), [row(name) for name in names])

    names = [f"n{i}" for i in range(8)]
    writes = [asyncio.create_task(batch.write(put, name)) for name in names]
    await asyncio.sleep(0)
    worker = asyncio.create_task(batch.run())
    await asyncio.gather(*writes)
    worker.cancel()

    assert calls == [8]
    assert await stored(database) == set(names)
