"""Which of several nodes has a gateway active: the one that asks on, or the one that somebody chose."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from edgeward.access.model import Principal
from edgeward.controller.tunnels.holding import Holding
from edgeward.database import schema
from edgeward.declaration.feed import Claim
from edgeward.vpn.naming import gateway_id
from tests.unit.controller.assembled import controller
from tests.unit.controller.tunnels.test_gateways import BERLIN, Following, until

GATEWAY = gateway_id("default", "vpn", "berlin")


@pytest.fixture
async def here(tmp_path, database_url):
    async with controller(tmp_path, database_url) as found:
        found.boss = await found.token("boss", "admin")
        await found.apply(found.boss, vpn=[BERLIN])
        for name in ("n1", "n2"):
            await found.parts.nodes.identity(name, "https://127.0.0.1:1", "test")
        yield found


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def holding(here: Any, clock: Clock) -> Holding:
    cases = here.parts.cases.holding
    found = Holding(
        cases._database, cases._gateways, cases._tunnels, cases._registry, cases._clock, clock
    )  # as that of the program, with a clock of ours
    clock.now += 60
    return found


async def holds(holding: Holding, node: str, *gateways: str) -> bool:
    who = Principal("t", node, "node", "*", node=node)
    return bool((await holding.granted(who, Claim(gateways=gateways or (GATEWAY,)))).gateways)


async def run_out(here: Any) -> None:
    async with here.parts.database.noting() as connection:
        await connection.execute(update(schema.leases).values(expires=1.0))


async def test_who_asks_first_has_it_and_keeps_it_as_long_as_it_asks(holding):
    assert await holds(holding, "n1")
    assert not await holds(holding, "n2")
    assert await holds(holding, "n1")


async def test_when_its_holder_stopped_asking_another_one_has_it_and_the_old_one_hears_so(here, holding):
    assert await holds(holding, "n1")
    await run_out(here)

    assert await holds(holding, "n2")
    assert not await holds(holding, "n1")


async def test_a_controller_that_has_just_begun_lets_those_come_first_that_had_it(here, holding, clock):
    assert await holds(holding, "n1")
    await run_out(here)
    holding._well_since = clock.now

    assert not await holds(holding, "n2")
    assert await holds(holding, "n1")
    await run_out(here)
    clock.now += 3
    assert await holds(holding, "n2")


async def test_the_controllers_own_start_takes_no_gateway_from_a_node(here, holding):
    assert await holds(holding, "n1")

    await here.parts.leases.begin_alone()

    assert not await holds(holding, "n2")


async def test_a_gateway_that_a_node_may_not_have_is_not_given_to_it(here, holding):
    await here.apply(here.boss, vpn=[{**BERLIN, "nodes": {"region": "eu"}}])

    assert not await holds(holding, "n1")
    assert not await holds(holding, "n1", "ffffffffffff")


async def test_somebody_gives_it_to_another_node_and_the_old_one_hears_so(here, holding):
    assert await holds(holding, "n1")
    async with Following(here) as following:
        node = await following.node("n2")
        await until(lambda: node.messages)
        answer = await here.http.post("/v1/vpn/berlin/promote", json={"node": "n2"}, headers=here.boss)

    assert answer.json() == {"gateway": GATEWAY, "name": "default/berlin", "node": "n2"}
    assert not await holds(holding, "n1")
    assert await holds(holding, "n2")
    audited = (await here.http.get("/v1/audit", headers=here.boss)).json()["items"]
    assert [(one["action"], one["name"], one["who"]) for one in audited if one["action"] == "promote"] == [
        ("promote", "n2", "boss")
    ]


@pytest.mark.parametrize(
    ("node", "status", "sentence"),
    [
        ("n2", 409, "node 'n2' is not connected; a gateway can only be given to one that is"),
        ("n9", 422, "no node named 'n9' has joined"),
    ],
)
async def test_it_is_given_only_to_a_node_that_is_there(here, node, status, sentence):
    answer = await here.http.post("/v1/vpn/berlin/promote", json={"node": node}, headers=here.boss)

    assert answer.status_code == status
    assert sentence in answer.text
