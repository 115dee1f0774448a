"""How much history is kept: whole revisions, the newest, and how far back one can go is known."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.declaration import history, revisions, store
from edgeward.declaration.document import from_data
from edgeward.declaration.history import Sight
from edgeward.declaration.model import Change, Key
from edgeward.declaration.revisions import Author, Bounds
from edgeward.kinds import KINDS
from tests.unit.certificates.issuing import opened

NOW = 1_800_000_000.0
DAY = 86400.0
ANN = Author("ann", "api")
PLENTY = Bounds(changes=10**6, size=10**9, seconds=1000 * DAY)


@pytest.fixture
async def database(database_url):
    async with opened(database_url) as database:
        yield database


async def make(database, count: int, first: int, now: float) -> int:
    """Create ``count`` domains as one revision."""
    names = [f"d{i}.example" for i in range(first, first + count)]
    objects = from_data({"version": 1, "domains": [{"name": n} for n in names]}, "f", KINDS).objects
    changes = [Change("create", o.key, None, {"name": o.key.name}) for o in objects]
    async with database.writing() as writing:
        revision = await store.write(writing, changes, "api", now)
        await revisions.record(writing, changes, ANN, now)
    return revision


async def swept(database, now: float, bounds: Bounds):
    async with database.writing() as writing:
        return await revisions.sweep(writing, now, bounds)


async def kept(database) -> list[int]:
    async with database.reading() as connection:
        found = await history.listed(connection, KINDS, Sight(), 1000)
        reach = await history.span(connection)
        for revision in found:
            made = await history.changes(connection, KINDS, revision.revision, Sight(), 1000)
            assert len(made) == revision.created, "whole, or not at all"
        assert reach.oldest == (found[-1].revision - 1 if found else reach.newest)
    return [r.revision for r in found]


async def test_the_oldest_revisions_go_whole_when_there_are_too_many_changes(database):
    for index, count in enumerate((3, 5, 1, 4)):
        await make(database, count, index * 10, NOW)

    assert await swept(database, NOW, Bounds(changes=13)) is None
    found = await swept(database, NOW, Bounds(changes=9))
    assert (found.revision, found.revisions, found.changes) == (2, 2, 8)
    assert await kept(database) == [4, 3], "revision 2 would have fitted by half only"


async def test_a_revision_larger_than_the_bound_stays_while_it_is_the_newest(database):
    await make(database, 1, 0, NOW)
    await make(database, 50, 10, NOW)

    assert (await swept(database, NOW, Bounds(changes=20))).revision == 1
    assert await kept(database) == [2]
    assert await swept(database, NOW, Bounds(changes=20)) is None


async def test_values_count_by_their_size(database):
    for index in range(4):
        await make(database, 1, index, NOW)
    size = len('{"name":"d0.example"}')

    assert (await swept(database, NOW, Bounds(size=3 * size))).revision == 1
    assert await kept(database) == [4, 3, 2]


async def test_age_takes_old_revisions_and_leaves_the_newest_few(database):
    for index in range(6):
        await make(database, 1, index, NOW + index * DAY)

    assert (await swept(database, NOW + 100 * DAY, Bounds(seconds=97.5 * DAY, always=2))).revision == 3
    assert await kept(database) == [6, 5, 4]
    assert (await swept(database, NOW + 1000 * DAY, Bounds(seconds=DAY, always=2))).revision == 4
    assert await kept(database) == [6, 5]


async def test_what_is_left_can_be_gone_back_to_from_the_oldest_on(database):
    for index in range(5):
        await make(database, 2, index * 2, NOW)
    await swept(database, NOW, Bounds(changes=4))

    async with database.reading() as connection:
        reach = await history.span(connection)
        undone = await history.undone(connection, reach.oldest, Sight(), KINDS)
    assert reach.oldest == 3
    assert undone.keys() == {Key("domains", "default", f"d{i}.example") for i in range(6, 10)}


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 40)), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(1, 60),
    st.integers(1, 4),
)
def test_sweeping_keeps_the_newest_that_fit_and_twice_is_once(sqlite_template, made, most, days, always):
    bounds = Bounds(changes=most, seconds=days * DAY, always=always)
    made = sorted(made, key=lambda m: -m[1])  # ages: the oldest first

    async def run(path: Path) -> None:
        async with opened(path) as database:
            for index, (count, age) in enumerate(made):
                await make(database, count, index * 10, NOW - age * DAY)
            await swept(database, NOW, bounds)
            found = await kept(database)
            assert await swept(database, NOW, bounds) is None
        wanted, total = [], 0
        for place, (count, age) in enumerate(reversed(made)):
            total += count
            if place > 0 and (total > most or (place >= always and age > days)):
                break
            wanted.append(len(made) - place)
        assert found == wanted

    with tempfile.TemporaryDirectory(prefix="ew-", dir="/tmp") as directory:
        shutil.copy(sqlite_template, directory)
        asyncio.run(run(Path(directory)))
