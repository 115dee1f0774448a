"""What the logs of nodes' rootds ended with: the first that is said for a line stays."""

from __future__ import annotations

import pytest

from edgeward.controller.nodes import root_logs
from edgeward.controller.nodes.root_logs import RootLogs
from edgeward.database.engine import open_database
from edgeward.declaration.feed import LogHead


@pytest.fixture
async def database(database_url):
    found = open_database(database_url)
    yield found
    await found.close()


def head(number: int, digit: str) -> LogHead:
    return LogHead(n=number, hash=digit * 64)


async def test_the_first_hash_of_a_line_stays_whatever_is_said_later(database):
    logs = RootLogs(database, lambda: 1000.0)
    await logs.note("n1", head(5, "a"))
    await logs.note("n1", head(9, "b"))
    await logs.note("n1", head(5, "c"))
    await logs.note("n2", head(5, "d"))
    await logs.note("n1", None)
    await RootLogs(database, lambda: 2000.0).note("n1", head(9, "e"))  # another controller

    assert await logs.of("n1") == {5: "a" * 64, 9: "b" * 64}


async def test_they_go_with_their_node_and_after_thirty_days(database):
    logs = RootLogs(database, lambda: 1000.0)
    for node in ("n1", "n2"):
        await logs.note(node, head(5, "a"))
    async with database.writing() as writing:
        await root_logs.forget(writing, "n1")
    assert await logs.of("n1") == {}
    async with database.writing() as writing:
        await root_logs.sweep(writing, 1000.0 + 29 * 86400)
    assert await logs.of("n2") == {5: "a" * 64}
    async with database.writing() as writing:
        await root_logs.sweep(writing, 1000.0 + 31 * 86400)
    assert await logs.of("n2") == {}
