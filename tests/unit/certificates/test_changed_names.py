"""What keepers of copies outside of nodes hear of: each name that changed, once, up to a revision."""

from __future__ import annotations

import pytest

from edgeward.certificates import changed_names, expirations, store
from edgeward.database.engine import current_revision
from edgeward.declaration import store as declared
from edgeward.declaration.model import Change, Key
from tests.unit.certificates.issuing import Installation, installation, put


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def changed(here: Installation, since: int, limit: int = 100) -> tuple[set[str], int | None]:
    async with here.database.reading() as connection:
        names, upto = await changed_names.names_changed(connection, since, limit)
        assert len(names) == len(set(names))
        return set(names), upto


async def test_what_changed_moved_and_was_to_be_dropped_is_heard_of_once(here):
    first = await put(here, "a.example", "b.example")
    second = await put(here, "b.example", "*.c.example")

    assert await changed(here, first - 1) == ({"a.example", "b.example", "*.c.example"}, None)
    assert await changed(here, first) == ({"b.example", "*.c.example"}, None)
    assert await changed(here, second) == (set(), None)

    async with here.database.writing() as writing:
        await store.move(writing, ["a.example"])
    async with here.database.writing() as writing:
        third = await expirations.expire(writing, "gone.example", here.now)
    assert await changed(here, second) == ({"a.example", "gone.example"}, None)

    async with here.database.writing() as writing:
        await expirations.expire(writing, expirations.EVERY_NAME, here.now)
    assert await changed(here, third) == ({expirations.EVERY_NAME}, None)


async def test_who_takes_little_at_once_takes_whole_revisions_and_comes_by_everything(here):
    since = await put(here, "z.example")
    for number in range(5):
        await put(here, *(f"n{number}{letter}.example" for letter in "abc"))

    found: list[set[str]] = []
    upto: int | None = since
    while upto is not None:
        names, upto = await changed(here, upto, limit=4)
        found.append(names)

    assert sum(map(len, found)) == 15
    assert all(len({n[:2] for n in names}) * 3 == len(names) for names in found)


@pytest.mark.parametrize(
    ("withheld", "heard"),
    [("b.example", {"b.example"}), ("*.c.example", {"*.c.example", "x.c.example", "y.c.example"})],
)
async def test_what_is_deactivated_and_activated_is_heard_of(here, withheld, heard):
    since = await put(here, "a.example", "b.example", "x.c.example", "y.c.example", "xc.example")
    key = Key("withheld", "default", withheld)
    for change in (Change("create", key, None, {"name": withheld}), Change("delete", key, {}, None)):
        async with here.database.writing() as writing:
            revision = await declared.write(writing, [change], "api", here.now)

        assert await changed(here, since) == (heard, None)
        assert await changed(here, revision) == (set(), None)
        since = revision


async def test_all_names_come_in_their_order_however_many_at_once(here):
    names = ["*.c.example", "a.example", "b.example", "z.example"]
    await put(here, *reversed(names))
    found, after = [], ""
    async with here.database.reading() as connection:
        while some := await changed_names.names_after(connection, after, 2):
            found += some
            after = some[-1]

    assert found == names


async def test_a_revision_is_never_below_the_floor_of_its_store(here):
    async with here.database.reading() as connection:
        identity, floor = await changed_names.store_and_floor(connection)

        assert identity
        assert floor <= await current_revision(connection)
