"""Orders to drop copies: each has its revision, and there is one of each name."""

from __future__ import annotations

import pytest

from edgeward.certificates import expirations
from edgeward.certificates.expirations import Expiration
from tests.unit.certificates.issuing import START, installation, put


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def test_an_order_to_expire_has_a_revision_of_its_own_and_replaces_the_one_before(here):
    revision = await put(here, "a.example")
    async with here.database.writing() as writing:
        first = await expirations.expire(writing, "a.example", START)
    async with here.database.writing() as writing:
        second = await expirations.expire(writing, "*", START)
    async with here.database.writing() as writing:
        third = await expirations.expire(writing, "a.example", START)
    async with here.database.reading() as connection:
        orders = await expirations.since(connection, first)

    assert revision < first < second < third
    assert orders == [Expiration("*", second), Expiration("a.example", third)]
