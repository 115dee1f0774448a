"""What nodes are told of gateways: those they may have, once, again when they change, and nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest

from edgeward.access.model import Principal
from edgeward.certificates.renewal.renew import renew_due
from edgeward.controller.tunnels import gateways
from edgeward.declaration import feed
from edgeward.declaration.feed import ChangeMessage, Gateways, Hello, Ping
from edgeward.errors import Unavailable
from edgeward.vpn.desired import Certificate, Gateway, Psk
from edgeward.vpn.naming import connection_id, gateway_id
from tests.unit.controller.assembled import controller

BERLIN = {
    "name": "berlin",
    "peer": "198.51.100.9",
    "local_networks": ["10.1.0.0/24"],
    "remote_networks": ["192.168.4.0/24"],
    "local_id": "@here.example",
    "secret": "something nobody knows",
}

PARIS = {**BERLIN, "name": "paris", "peer": "198.51.100.10"}


@pytest.fixture
async def here(tmp_path, database_url):
    async with controller(tmp_path, database_url) as found:
        yield found


class Node:
    """Holds gateways as a node does, from messages as they come over the feed."""

    def __init__(self, here: Any, name: str) -> None:
        self._here = here
        self._name = name
        self.held: dict[str, Gateway] = {}
        self.messages: list[Any] = []
        self._half: list[Gateways] = []

    async def follow(self) -> None:
        who = Principal(self._token, self._name, "node", "*", node=self._name)
        lines = await self._here.parts.nodes.watched(who, 0, "", feed.PROTOCOL)
        async with aclosing(lines):
            async for line in lines:
                self._take(feed.read(line))

    async def join(self) -> Node:
        identity = await self._here.parts.nodes.identity(self._name, "https://127.0.0.1:1", "test")
        self._token = identity.token.split("_")[1] if "_" in identity.token else identity.token
        return self

    def _take(self, message: Any) -> None:
        self.messages.append(message)
        if not isinstance(message, Gateways):
            return
        self._half.append(message)
        if message.more:
            return
        if self._half[0].whole:
            self.held.clear()
        for part in self._half:
            for id_ in part.remove:
                del self.held[id_]
            self.held |= {g.id: g for g in map(Gateway.model_validate, part.put)}
        self._half = []


class Following:
    """Nodes that follow for as long as a test takes."""

    def __init__(self, here: Any) -> None:
        self._here = here
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Following:
        self._tasks.append(asyncio.create_task(self._here.parts.tunnels.gateways.run()))
        return self

    async def node(self, name: str) -> Node:
        node = await Node(self._here, name).join()
        self._tasks.append(asyncio.create_task(node.follow()))
        return node

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_node_is_given_a_gateway_with_its_secret_and_nothing_else_of_tunnels(here):
    boss = await here.token("boss", "admin")
    assert (await here.apply(boss, vpn=[BERLIN])).status_code == 200
    async with Following(here) as following:
        node = await following.node("n1")
        await until(lambda: node.held)

    (gateway,) = node.held.values()
    assert gateway.id == gateway_id("default", "vpn", "berlin")
    assert gateway.active
    (connection,) = gateway.connections
    assert connection.id == connection_id("default", "berlin")
    assert isinstance(connection.auth, Psk)
    assert connection.auth.secret.reveal() == BERLIN["secret"]
    changes = [m for m in node.messages if isinstance(m, ChangeMessage)]
    assert isinstance(node.messages[0], Hello)
    assert "vpn" not in {one.kind for m in changes for one in (*m.put, *m.remove)}


async def test_a_feed_goes_on_where_gateways_cannot_be_read_for_a_moment(here, monkeypatch):
    boss = await here.token("boss", "admin")
    await here.apply(boss, vpn=[BERLIN])
    of, fails = gateways.Gateways.of, iter([True])

    async def of_a_database_away(self: Any, labels: Any) -> Any:
        if next(fails, False):
            raise Unavailable("the database does not answer")
        return await of(self, labels)

    monkeypatch.setattr(gateways.Gateways, "of", of_a_database_away)
    async with Following(here) as following:
        node = await following.node("n1")
        await until(lambda: node.held)

    assert [m.ready for m in node.messages if isinstance(m, Ping)] == [False]
    assert sum(isinstance(m, Hello) for m in node.messages) == 1


async def test_a_change_is_told_at_once_and_a_deletion_too_and_others_are_not_told_again(here):
    boss = await here.token("boss", "admin")
    await here.apply(boss, vpn=[BERLIN, PARIS])
    async with Following(here) as following:
        node = await following.node("n1")
        await until(lambda: len(node.held) == 2)
        node.messages.clear()
        await here.apply(boss, vpn=[{**BERLIN, "mtu": 1300}, PARIS])
        berlin, paris = (gateway_id("default", "vpn", name) for name in ("berlin", "paris"))
        await until(lambda: node.held[berlin].connections[0].mtu == 1300)
        told = [g["id"] for m in node.messages if isinstance(m, Gateways) for g in m.put]
        assert told == [berlin]
        await here.apply(boss, vpn=[{**BERLIN, "mtu": 1300}])
        await until(lambda: set(node.held) == {berlin})
        await here.apply(boss, domains=[{"name": "other.example"}])
        node.messages.clear()
        await here.apply(boss, vpn=[])
        await until(lambda: not node.held)
    assert paris not in node.held


async def test_a_gateway_is_on_the_nodes_that_are_selected_and_shared_where_these_are_several(here):
    boss = await here.token("boss", "admin")
    await here.apply(boss, vpn=[{**BERLIN, "nodes": {"region": "eu"}}])
    async with Following(here) as following:
        one, two, three = [await following.node(name) for name in ("n1", "n2", "n3")]
        for name in ("n2", "n3"):
            answer = await here.http.put(
                f"/v1/nodes/{name}/labels", json={"labels": {"region": "eu"}}, headers=boss
            )
            assert answer.status_code == 200, answer.text
        two, three = await following.node("n2"), await following.node("n3")
        await until(lambda: two.held and three.held)
        berlin = gateway_id("default", "vpn", "berlin")
        for node in (two, three):
            await until(lambda of=node: of.held[berlin].shared and not of.held[berlin].active)
        assert not one.held
        await here.http.delete("/v1/nodes/n2", headers=boss)
        await until(lambda: three.held[berlin].active and not three.held[berlin].shared)


async def test_many_gateways_come_in_parts_that_are_taken_in_together(here, monkeypatch):
    monkeypatch.setattr(gateways, "_MESSAGE_BYTES", 2000)
    boss = await here.token("boss", "admin")
    await here.apply(boss, vpn=[{**BERLIN, "name": f"s{n}", "peer": f"198.51.100.{n}"} for n in range(7)])
    async with Following(here) as following:
        node = await following.node("n1")
        await until(lambda: len(node.held) == 7)
    parts = [m for m in node.messages if isinstance(m, Gateways)]
    assert [m.whole for m in parts] == [True] + [False] * (len(parts) - 1)
    assert [m.more for m in parts] == [True] * (len(parts) - 1) + [False]
    assert len(parts) > 2


async def test_who_has_none_is_told_that_there_are_none(here):
    async with Following(here) as following:
        node = await following.node("n1")
        await until(lambda: any(isinstance(m, Gateways) for m in node.messages))
    assert [m.whole for m in node.messages if isinstance(m, Gateways)] == [True]


async def test_a_connection_can_be_asked_for_as_soon_as_it_is_declared(here):
    boss = await here.token("boss", "admin")
    await here.apply(boss, vpn=[BERLIN])
    answer = await here.http.get("/v1/vpn/berlin/status", headers=boss)
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == "berlin"
    assert BERLIN["secret"] not in answer.text
    assert (await here.http.get("/v1/vpn/paris/status", headers=boss)).status_code == 404


async def test_a_site_with_a_certificate_gets_it_as_soon_as_it_is_there_and_whenever_it_is_another(here):
    boss, asking = await here.token("boss", "admin"), await here.node("asking")
    site = {**BERLIN, "certificate": {"name": "vpn.example.com"}}
    del site["secret"], site["local_id"]
    refused = await here.apply(boss, vpn=[site])
    assert [e["field"] for e in refused.json()["errors"]] == ["certificate.name"]
    domains = [{"name": "vpn.example.com", "on_demand": True}]
    assert (await here.apply(boss, domains=domains, vpn=[site])).status_code == 200
    async with Following(here) as following:
        node = await following.node("n1")
        await until(lambda: node.messages)
        assert not node.held
        await here.http.post("/v1/certificates/vpn.example.com/obtain", headers=asking)
        await until(lambda: node.held)
        first = next(iter(node.held.values())).connections[0]
        assert isinstance(first.auth, Certificate)
        assert first.local_id == "@vpn.example.com"
        assert "BEGIN CERTIFICATE" in first.auth.authority
        assert "PRIVATE KEY" in first.auth.key.reveal()
        assert await renew_due(here.parts.certificates.issuance, time.time() + 80 * 86400) == 1
        await until(lambda: next(iter(node.held.values())).connections[0].auth != first.auth)


async def test_a_site_with_a_certificate_is_known_where_no_node_follows(here):
    boss, asking = await here.token("boss", "admin"), await here.node("asking")
    site = {**BERLIN, "certificate": {"name": "vpn.example.com"}}
    del site["secret"]
    await here.apply(boss, domains=[{"name": "vpn.example.com", "on_demand": True}], vpn=[site])
    await here.http.post("/v1/certificates/vpn.example.com/obtain", headers=asking)
    async with Following(here):
        await until(lambda: here.parts.tunnels.gateways.now())
    text = (await here.http.get("/v1/vpn/berlin/peer-config?for=sheet", headers=boss)).json()["text"]
    assert "certificates" in text


async def test_the_certificate_of_another_project_is_not_to_be_had(here):
    boss = await here.token("boss", "admin")
    site = {**BERLIN, "project": "other", "certificate": {"name": "vpn.example.com"}}
    del site["secret"]
    refused = await here.apply(boss, domains=[{"name": "vpn.example.com"}], vpn=[site])
    assert [e["field"] for e in refused.json()["errors"]] == ["certificate.name"]
