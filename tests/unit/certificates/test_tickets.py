"""Keys for TLS sessions: new in time, a few kept, and each name's own."""

from __future__ import annotations

import asyncio

import pytest

from edgeward.certificates import eager, store, tickets
from edgeward.certificates.model import Domain
from tests.unit.certificates.issuing import START, Installation, installation


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def masters(here: Installation) -> list[bytes]:
    async with here.database.reading() as connection:
        return await tickets.masters(connection, here.seal)


async def test_there_are_none_without_hot_names(here):
    here.declare([Domain(name="a.example")])

    assert not await tickets.rotate(here.issuance, START)
    assert await masters(here) == []


async def test_a_new_one_comes_every_twelve_hours_and_the_last_three_are_kept(here):
    here.declare([Domain(name="a.example", hot=True)])
    seen = []
    for hour in range(0, 60, 6):
        assert await tickets.rotate(here.issuance, START + hour * 3600) == (hour % 12 == 0)
        seen.append((await masters(here))[0])

    assert len(set(seen)) == 5
    assert await masters(here) == [seen[8], seen[6], seen[4]]
    assert all(len(one) == 80 for one in seen)


async def test_two_controllers_make_one(here):
    here.declare([Domain(name="a.example", hot=True)])
    made = await asyncio.gather(*(tickets.rotate(here.issuance, START) for _ in range(3)))

    assert sorted(made) == [False, False, True]
    assert len(await masters(here)) == 1


async def test_a_clock_that_was_put_back_far_does_not_stop_it(here):
    here.declare([Domain(name="a.example", hot=True)])
    await tickets.rotate(here.issuance, START + 30 * 86400)

    assert await tickets.rotate(here.issuance, START)


async def test_nodes_look_anew_at_the_certificates_of_hot_names_only(here):
    here.declare([Domain(name="a.example", hot=True), Domain(name="b.example")])
    await eager.make_missing(here.issuance, list(here.policy.eager()))
    async with here.database.reading() as connection:
        before = await store.changes_since(connection, here.seal, 0, 10)
    await tickets.rotate(here.issuance, START)

    async with here.database.reading() as connection:
        after = await store.changes_since(connection, here.seal, max(k.placed for k in before), 10)
    assert [kept.certificate.name for kept in after] == ["a.example"]
    assert after[0].certificate.beside is not None


def test_each_name_has_keys_of_its_own():
    secrets = [bytes([i]) * 80 for i in range(3)]
    one, other = tickets.derived(secrets, "a.example"), tickets.derived(secrets, "b.example")

    assert one == tickets.derived(secrets, "a.example")
    assert len({*one, *other}) == 6
    assert {len(key) for key in (*one, *other)} == {80}
