"""What is known of backends' names stays for the next start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgeward.node.backends import keeping
from edgeward.node.backends.addresses import Backends
from edgeward.node.backends.resolver import Resolved
from edgeward.node.sealed_copy.last_good import LastGood
from tests.unit.node.backends.test_addresses import Names, running, service


@pytest.fixture
async def backends(copy: LastGood, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Backends]:
    monkeypatch.setattr(keeping, "_LOOK_SECONDS", 0.005)
    found = Backends(
        Names(a_internal=Resolved(("10.0.0.7",), 60), b_internal=Resolved(("10.0.0.8",), 60)), {}
    )
    async with running(found):
        task = asyncio.create_task(keeping.run(found, copy))
        yield found
        task.cancel()
        await asyncio.wait([task])


async def test_good_answers_are_kept_and_forgotten_with_what_names_them(
    backends: Backends, copy: LastGood
) -> None:
    backends.want([service("http://a.internal:80", "http://b.internal:80")])
    await kept(copy, {"a.internal": ["10.0.0.7"], "b.internal": ["10.0.0.8"]})

    backends.want([service("http://b.internal:80")])
    await kept(copy, {"b.internal": ["10.0.0.8"]})


async def kept(copy: LastGood, addresses: dict[str, list[str]]) -> None:
    async with asyncio.timeout(30):
        while copy.addresses() != addresses:
            await asyncio.sleep(0.005)
