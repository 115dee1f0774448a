from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgeward.node.backends.addresses import Backends
from edgeward.node.backends.resolver import Resolved
from edgeward.node.envoy.publishing import Publishing
from edgeward.node.state import State, Touched, understand
from edgeward.xds import messages as m
from edgeward.xds.snapshot import Snapshot
from tests.unit.node.backends.test_addresses import Names


class Published:
    def __init__(self) -> None:
        self.state = State()
        self.names = Names(db_internal=Resolved(("10.0.0.7",), 60))
        self.backends = Backends(self.names, {})
        self.snapshots: list[Snapshot] = []
        self.publishing = Publishing(self.state, self.backends, self.snapshots.append)

    def put(self, kind: str, name: str, **value: object) -> None:
        understood = understand(kind, {"name": name, **value})
        self.state.put(kind, "default", name, understood, Touched())
        self.state.revision += 1
        self.publishing.changed(gateway=True)

    async def settled(self, revision: int) -> Snapshot:
        async with asyncio.timeout(30):
            while not self.snapshots or self.snapshots[-1].revision != revision or self.snapshots[-1].pending:
                await asyncio.sleep(0.01)
        return self.snapshots[-1]


@pytest.fixture
async def published() -> AsyncIterator[Published]:
    made = Published()
    tasks = [asyncio.create_task(work) for work in (made.publishing.run(), made.backends.run())]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_changes_that_come_together_are_published_once(published: Published) -> None:
    published.put("services", "shop", backends=["http://192.0.2.1:80"])
    published.put("routes", "shop", hosts=["shop.example"], service="shop")
    published.put("services", "other", backends=["http://192.0.2.1:80"])

    found = await published.settled(3)

    assert len(published.snapshots) == 1
    assert set(found.resources[m.CLUSTER]) == set(found.resources[m.ENDPOINTS]) == {"default/shop"}


async def test_endpoints_are_pending_until_their_names_are_resolved(published: Published) -> None:
    published.put("services", "shop", backends=["http://db.internal:80"])
    published.put("routes", "shop", hosts=["shop.example"], service="shop")

    found = await published.settled(2)

    assert published.snapshots[0].pending == {(m.ENDPOINTS, "default/shop")}
    assert b"10.0.0.7" in found.resources[m.ENDPOINTS]["default/shop"].body


async def test_a_revision_without_effect_on_envoy_is_published_too_so_that_it_comes_into_force(
    published: Published,
) -> None:
    published.put("routes", "away", hosts=["a.example"], redirect={"host": "b.example"})
    before = await published.settled(1)
    published.state.revision = 2
    published.publishing.changed(gateway=False)

    after = await published.settled(2)

    assert after.same(before), "found at once, without a look at each resource"


async def test_a_state_that_cannot_be_translated_leaves_the_one_before_and_is_told(
    published: Published,
) -> None:
    published.put("routes", "away", hosts=["a.example"], redirect={"host": "b.example"})
    await published.settled(1)
    published.state.routes["default", "broken"] = object()  # type: ignore[assignment]
    published.state.revision = 2
    published.publishing.changed(gateway=True)
    async with asyncio.timeout(30):
        while published.publishing.failure is None:
            await asyncio.sleep(0.01)

    assert published.snapshots[-1].revision == 1
    assert "revision 2" in published.publishing.failure.message

    del published.state.routes["default", "broken"]
    published.put("routes", "more", hosts=["c.example"], redirect={"host": "b.example"})
    await published.settled(3)
    assert published.publishing.failure is None
