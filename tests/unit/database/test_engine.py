"""Transactions: ordered, whole or not at all, and heard of by those who wait."""

import asyncio

import pytest
from sqlalchemy import func, insert, select

from edgeward.database import schema
from edgeward.database.engine import Database, current_revision, open_database
from edgeward.database.migrations import migrate
from edgeward.errors import Conflict


@pytest.fixture
async def database(database_url):
    database = open_database(database_url)
    await migrate(database.engine)
    yield database
    await database.close()


def token(name: str) -> dict[str, object]:
    return {"id": name, "name": name, "hash": "", "role": "viewer", "project": "*", "created": 0.0}


async def tokens(database: Database) -> int:
    async with database.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(schema.tokens))).scalar_one()


class CancelledAt:
    """Awaits a coroutine, and cancels the task it runs in at its ``moment``-th wait."""

    def __init__(self, work, moment: int) -> None:
        self._work = work.__await__()
        self._moment = moment
        self.suspended = 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        return self._waited(self._work.send(value))

    def throw(self, *error):
        return self._waited(self._work.throw(*error))

    def close(self):
        self._work.close()

    def _waited(self, future):
        self.suspended += 1
        if self.suspended == self._moment:
            asyncio.current_task().cancel()
        return future


async def finished(work: CancelledAt) -> None:
    await work


async def test_revisions_grow_by_one_in_the_order_of_commits(database):
    seen = []

    async def write() -> None:
        async with database.writing() as writing:
            seen.append(await writing.next_revision())

    await asyncio.gather(*(write() for _ in range(20)))

    assert seen == list(range(1, 21))


async def test_an_exception_undoes_everything_and_announces_nothing(database):
    with pytest.raises(RuntimeError):
        async with database.writing() as writing:
            await writing.next_revision()
            await writing.connection.execute(insert(schema.tokens).values(token("a")))
            raise RuntimeError

    assert await tokens(database) == 0
    assert not await database.changed_since(0, timeout=0.05)
    async with database.reading() as connection:
        assert await current_revision(connection) == 0


async def test_a_reader_keeps_its_view_while_others_write(database):
    async with database.reading() as connection:
        before = await current_revision(connection)
        async with database.writing() as writing:
            await writing.next_revision()
        assert await current_revision(connection) == before


async def test_a_writer_cancelled_at_any_moment_leaves_all_or_nothing_and_no_lock(database):
    kept: list[asyncio.Task[None]] = []  # with their tracebacks, as a log or a debugger would

    async def write(name: str) -> None:
        async with database.writing() as writing:
            await writing.next_revision()
            await writing.connection.execute(select(schema.objects))
            await writing.connection.execute(insert(schema.tokens).values(token(name)))
            await writing.connection.execute(insert(schema.tokens).values(token(name + "x")))

    before, moments = 0, 0
    while True:
        moments += 1
        writer = CancelledAt(write(f"t{moments}"), moments)
        kept.append(asyncio.create_task(finished(writer)))
        await asyncio.wait({kept[-1]})
        now = await tokens(database)
        assert now - before in (0, 2)
        before = now
        async with asyncio.timeout(30), database.writing() as writing:  # waits for no lock of the one before
            await writing.next_revision()
        if writer.suspended < moments:  # it came to its end before it was cancelled
            break

    assert moments > 5
    assert before >= 2


async def test_those_who_wait_hear_of_a_commit_at_once(database):
    waiting = asyncio.create_task(database.changed_since(0, timeout=5))
    await asyncio.sleep(0.01)
    async with database.writing() as writing:
        await writing.next_revision()

    assert await asyncio.wait_for(waiting, 1)


async def test_what_breaks_a_unique_rule_is_a_conflict(database):
    with pytest.raises(Conflict):
        async with database.writing() as writing:
            await writing.connection.execute(insert(schema.tokens).values(token("a")))
            await writing.connection.execute(insert(schema.tokens).values(token("a")))


async def test_commits_are_synced_to_disk_with_a_write_ahead_log(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/edgeward.db")
    await migrate(database.engine)
    async with database.reading() as connection:
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar_one() == 2
    await database.close()
