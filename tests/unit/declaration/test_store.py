"""The declared state in a real database: written whole, listed in pages, followed without a gap."""

from __future__ import annotations

import random

import pytest

from edgeward.declaration import audit, store
from edgeward.declaration.document import from_data
from edgeward.declaration.model import Change, Key
from edgeward.declaration.plan import plan
from edgeward.declaration.store import Position
from edgeward.errors import Unavailable
from edgeward.kinds import KINDS
from tests.unit.certificates.issuing import opened

NOW = 1_800_000_000.0


@pytest.fixture
async def database(database_url):
    async with opened(database_url) as database:
        yield database


def domains(*names: str, project: str = "default"):
    data = {"version": 1, "domains": [{"name": n, "project": project} for n in names]}
    return from_data(data, "f", KINDS).objects


async def everything(database):
    async with database.reading() as connection:
        return {s.key: s for s in await store.listed(connection, KINDS["domains"], limit=1000)}


async def apply(database, desired, source="api", now=NOW, **options) -> tuple[Change, ...]:
    changes = plan(desired, await everything(database), source, **options)
    if changes:
        async with database.writing() as writing:
            await store.write(writing, changes, source, now)
    return changes


async def follow(database, position: Position, limit: int):
    """Follow to the end; give what a follower then holds and where it is."""
    held, order = {}, []
    while True:
        async with database.reading() as connection:
            page = await store.changes_since(connection, position, limit)
        if not page:
            return held, order, position
        for one in page:
            order.append((one.revision, one.key))
            held[one.key] = one.value
        position = Position(page[-1].revision, page[-1].key)


async def test_what_is_written_is_found_and_written_again_changes_nothing(database):
    desired = domains("a.example", "b.example")
    assert len(await apply(database, desired)) == 2
    assert await apply(database, desired) == ()

    async with database.reading() as connection:
        assert (await store.store(connection)).revision == 1
        found = await store.find(connection, Key("domains", "default", "a.example"), KINDS["domains"])
        assert found is not None
        assert (found.revision, found.source, found.value) == (1, "api", desired[0].value)
        assert await store.counts(connection) == {"domains": 2}


async def test_a_follower_holds_what_is_stored_however_small_its_pages(database):
    chance = random.Random(7)
    names = [f"{i}.example" for i in range(12)]
    position, held = Position(0), {}
    for _ in range(25):
        await apply(database, domains(*chance.sample(names, chance.randint(0, 12))))
        if chance.random() < 0.5:
            changed, order, position = await follow(database, position, chance.randint(1, 5))
            assert order == sorted(order)
            held.update(changed)
            stored = await everything(database)
            assert {k for k, v in held.items() if v is not None} == set(stored)


async def test_pages_go_on_where_the_last_one_ended(database):
    await apply(database, domains("a.example", "b.example", "c.example"))
    await apply(database, domains("b2.example", project="t"), source="file:x")
    seen, after = [], None
    while True:
        async with database.reading() as connection:
            page = await store.listed(connection, KINDS["domains"], limit=2, after=after)
        seen += [s.key.name for s in page]
        if len(page) < 2:
            break
        after = (page[-1].key.name, page[-1].key.project)

    assert seen == ["a.example", "b.example", "b2.example", "c.example"]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({"project": "t"}, ["b2.example"]),
        ({"source": "file:x"}, ["b2.example"]),
        ({"name": "b*"}, ["b.example", "b2.example"]),
        ({"name": "b.example"}, ["b.example"]),
        ({"name": "%"}, []),
        ({"name": "_*"}, []),
    ],
)
async def test_lists_are_filtered(database, where, names):
    await apply(database, domains("a.example", "b.example"))
    await apply(database, domains("b2.example", project="t"), source="file:x")

    async with database.reading() as connection:
        found = await store.listed(connection, KINDS["domains"], limit=10, **where)
    assert [s.key.name for s in found] == names


async def test_what_was_deleted_and_made_again_is_no_longer_deleted(database):
    for names in (["a.example"], [], ["a.example"]):
        await apply(database, domains(*names))

    held, _, _ = await follow(database, Position(1), 10)
    assert held == {Key("domains", "default", "a.example"): {"name": "a.example"}}


async def test_sweeping_forgets_old_deletions_and_raises_the_floor(database):
    await apply(database, domains("a.example", "b.example", "c.example"))
    await apply(database, domains("b.example", "c.example"), now=NOW)
    await apply(database, domains("c.example"), now=NOW + 100)
    async with database.reading() as connection:
        before = await store.declared_revision(connection)

    async with database.writing() as writing:
        assert await store.sweep(writing, NOW + 150, keep=100) == 1
    async with database.reading() as connection:
        assert (await store.store(connection)).floor == 2
    async with database.writing() as writing:
        assert await store.sweep(writing, NOW + 150, keep=1000, most=0) == 1
    async with database.reading() as connection:
        assert (await store.store(connection)).floor == 3
        assert await store.declared_revision(connection) == before == 3


async def test_an_object_that_is_not_valid_any_more_is_named_not_a_crash(database):
    await apply(database, domains("a.example"))
    async with database.writing() as writing:
        await writing.connection.exec_driver_sql("""UPDATE objects SET value='{"name":"_"}'""")

    with pytest.raises(Unavailable, match=r"domains/default/a\.example as stored is not valid"):
        await everything(database)


async def test_the_audit_log_tells_who_did_what_without_secrets_and_is_bounded(database):
    key = Key("tokens", "default", "a.example")
    for index in range(7):
        async with database.writing() as writing:
            await writing.next_revision()
            entry = audit.Entry(
                "ann", "api", "change", key, {"n": index, "token": "s3cret"}, {"big": "x" * 70_000}
            )
            await audit.record(writing, [entry], NOW + index)
    async with database.writing() as writing:
        assert await audit.sweep(writing, NOW + 6, keep=100, most=5) == 2

    async with database.reading() as connection:
        found = await audit.listed(connection, limit=3)
        rest = await audit.listed(connection, limit=10, before_id=found[-1]["id"], kind="tokens")
    assert [e["before"]["n"] for e in [*found, *rest]] == [6, 5, 4, 3, 2]
    assert found[0]["before"]["token"] == "****"
    assert set(found[0]["after"]) == {"omitted_bytes", "sha256"}
    assert (found[0]["who"], found[0]["revision"]) == ("ann", 7)
