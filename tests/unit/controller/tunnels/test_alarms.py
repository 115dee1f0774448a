"""The webhook hears of tunnels that stay down and of those that are back, once each, whoever was killed."""

from __future__ import annotations

import pytest

from edgeward.certificates.model import Alarms
from edgeward.controller.tunnels import alarms as tunnel_alarms
from edgeward.controller.tunnels.connections import KnownSites
from edgeward.errors import Unavailable
from edgeward.vpn import store
from tests.unit.certificates.issuing import opened
from tests.unit.vpn.tunnels import NOW, connection, gateway, heard, state

DECLARED = Alarms(webhook="https://ops.example/hook")
OFFICE, BRANCH = connection(1), connection(2, name="red/office-1", peer_networks=("10.3.0.0/24",))


class Declared:
    """What is declared, as the use case of tunnels gives it."""

    def __init__(self, *connections):
        self.known = KnownSites()
        self.known.gateways = lambda: [gateway(*connections)]


class Operations:
    def __init__(self, database):
        self.database = database
        self.declared = Declared(OFFICE, BRANCH)
        self.heard = []
        self.deaf = False

    async def post(self, _declared, body):
        if self.deaf:
            raise Unavailable("no")
        self.heard.append([(one["name"], one["project"], one["phase"]) for one in body["tunnels"]])

    async def look(self, after, alarms=DECLARED):
        await tunnel_alarms.look(self.database, self.declared, alarms, self.post, NOW + after)
        said, self.heard = self.heard, []
        return said

    async def said(self, *states):
        async with self.database.writing() as writing:
            await store.take(writing, "n1", [heard(*states, whole=False)], NOW)


@pytest.fixture
async def ops(database_url):
    async with opened(database_url) as database:
        yield Operations(database)


async def test_a_tunnel_that_stays_down_is_told_of_once_and_once_when_it_is_back(ops):
    await ops.said(state(1, "down"), state(2))
    assert await ops.look(5) == []
    assert await ops.look(11) == [[("office-1", "default", "down")]]
    assert await ops.look(12) == []
    await ops.said(state(1, "connecting"))
    assert await ops.look(13) == []
    await ops.said(state(1))
    assert await ops.look(14) == [[("office-1", "default", "active")]]
    assert await ops.look(15) == []


async def test_one_that_comes_back_in_time_is_not_told_of(ops):
    await ops.said(state(1, "down"))
    assert await ops.look(5) == []
    await ops.said(state(1))
    assert await ops.look(20) == []


async def test_what_nobody_took_is_told_later(ops):
    await ops.said(state(1, "error", reason="pre-shared keys differ"))
    ops.deaf = True
    with pytest.raises(Unavailable):
        await ops.look(20)
    ops.deaf = False
    assert await ops.look(21) == [[("office-1", "default", "error")]]


async def test_nobody_hears_of_what_is_not_declared_or_switched_off(ops):
    await ops.said(state(1, "disabled"), state(7, "down"))

    assert await ops.look(20) == []
    assert await ops.look(20, Alarms()) == []
