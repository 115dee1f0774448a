"""The feed: whole revisions in order, nothing missed, resumed anywhere, ended when the token is."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from contextlib import aclosing

import pytest

from edgeward.access.model import Principal
from edgeward.certificates import eager, tickets
from edgeward.controller.nodes import reading, streams
from edgeward.controller.nodes.feed import Feed
from edgeward.declaration import feed
from edgeward.declaration.feed import (
    Answer,
    ChangeMessage,
    EnvoyState,
    Hello,
    Ping,
    Rejection,
    Report,
    Synced,
)
from edgeward.declaration.model import Key
from edgeward.declaration.store import Position
from tests.unit.controller.assembled import ADMIN, controller


@pytest.fixture
async def here(tmp_path, database_url):
    async with controller(tmp_path, database_url) as found:
        yield found


class Follower:
    """Takes messages in as a node does: whole transactions only."""

    def __init__(self) -> None:
        self.held: dict[Key, int] = {}
        self.revision = 0
        self.expired: list[str] = []
        self._open: list[ChangeMessage] = []

    def take(self, message: ChangeMessage) -> None:
        assert message.revision > self.revision
        assert not self._open or self._open[0].revision == message.revision
        self._open.append(message)
        if message.more:
            return
        for part in self._open:
            for put in part.put:
                self.held[Key(put.kind, put.project, put.name)] = put.revision
            for gone in part.remove:
                self.held.pop(Key(gone.kind, gone.project, gone.name), None)
            self.expired += part.expire
        self.revision, self._open = message.revision, []


async def stored(here) -> dict[Key, int]:
    found = {k: s.revision for k, s in here.parts.state.stored.items() if k.kind != "issuers"}
    listed = await here.parts.cases.certificates.listed(ADMIN, _any(), None, 1000, None)
    deciding = here.parts.state.deciding  # keys of what is not served any more are for nobody
    served = {Key("certificates", s.project, s.name): s.revision for s in listed if deciding(s.name)}
    return found | served


def _any():
    from edgeward.certificates.model import Wanted

    return Wanted()


async def follow(here, follower: Follower) -> None:
    following = Feed(here.parts.looks, {"name": "n1"}, follower.revision)
    while True:
        found = await following.round()
        for message in found.messages:
            follower.take(message)
        if found.complete:
            assert follower.revision == found.revision
            return


@pytest.mark.parametrize(("objects", "certificates"), [(1, 1), (3, 2), (4, 100), (500, 200)])
async def test_a_follower_holds_what_is_stored_whatever_the_size_of_a_look(
    here, monkeypatch, objects, certificates
):
    monkeypatch.setattr(reading, "OBJECTS_AT_ONCE", objects)
    monkeypatch.setattr(reading, "CERTIFICATES_AT_ONCE", certificates)
    chance = random.Random(objects)
    boss, node = await here.token("boss", "admin"), await here.node("n1")
    always, resuming = Follower(), Follower()
    for step in range(14):
        names = chance.sample(range(9), chance.randint(0, 9))
        domains = [{"name": f"d{i}.example", "on_demand": True} for i in names]
        issuers = [{"name": f"i{step}", "local": {}}] if chance.random() < 0.3 else []
        assert (await here.apply(boss, domains=domains, issuers=issuers)).status_code == 200
        for i in names[:3]:
            await here.http.post(f"/v1/certificates/d{i}.example/obtain", headers=node)
        if names and chance.random() < 0.4:
            await here.http.post("/v1/certificates/expire", headers=boss)
        await follow(here, always)
        if chance.random() < 0.3:
            await follow(here, resuming)
            assert resuming.held == await stored(here)
        assert always.held == await stored(here)
    anew = Follower()
    await follow(here, anew)

    assert anew.held == always.held == await stored(here)
    assert set(always.expired) <= {"*"}


async def test_a_revision_is_one_transaction_however_many_messages_it_takes(here, monkeypatch):
    monkeypatch.setattr(reading, "OBJECTS_AT_ONCE", 10)
    boss = await here.token("boss", "admin")
    await here.apply(boss, domains=[{"name": f"d{i}.example"} for i in range(30)])
    await here.http.put("/v1/domains/one.example", json={}, headers=boss)

    following = Feed(here.parts.looks, {"name": "n1"}, 0)
    messages = []
    while True:
        found = await following.round()
        messages += found.messages
        if found.complete:
            break

    assert [(m.revision, len(m.put), m.more) for m in messages] == [
        (1, 10, True), (1, 10, True), (1, 10, True), (1, 0, False), (2, 1, False),
    ]  # fmt: skip


async def test_large_objects_go_in_messages_of_their_own(tmp_path):
    async with controller(tmp_path) as here:
        await _large_objects_go_in_messages_of_their_own(here)


async def _large_objects_go_in_messages_of_their_own(here):
    boss = await here.token("boss", "admin")
    hosts = [f"h{i}.c.example" for i in range(20_000)]
    routes = [
        {"name": f"r{n}", "hosts": hosts, "paths": [f"/{n}"], "redirect": {"scheme": "https"}}
        for n in range(4)
    ]
    assert (await here.apply(boss, domains=[{"name": "*.c.example"}], routes=routes)).status_code == 200

    found = await Feed(here.parts.looks, {"name": "n1"}, 0).round()

    assert len(found.messages) > 1
    assert [m.more for m in found.messages] == [True] * (len(found.messages) - 1) + [False]
    assert all(len(streams.line(m)) < 3 << 20 for m in found.messages)


# --- the stream ------------------------------------------------------------------------------


async def watching(here, headers_name: str = "n1", since: int = 0, store: str = ""):
    """Begin a stream; give the node as it is known and an iterator of its messages."""
    who = Principal(await _token_of(here, headers_name), "node", "node", "*", headers_name)
    lines = await here.parts.cases.nodes.watched(who, since, store)
    return who, lines


async def _token_of(here, name: str) -> str:
    from edgeward.access import store

    async with here.parts.database.reading() as connection:
        (token,) = await store.of_node(connection, name, 0)
    return token.id


async def following(lines):
    async for line in lines:
        yield feed.read(line)


async def until(messages, kind):
    """Read up to the next message of a kind."""
    seen = []
    async with asyncio.timeout(30):
        while True:
            message = await anext(messages)
            seen.append(message)
            if isinstance(message, kind):
                return seen


@pytest.mark.parametrize(
    ("since", "store", "reset"),
    [(0, "", True), (1, "", True), (1, "same", False), (0, "same", False), (10**9, "same", True)],
)
async def test_a_node_starts_over_where_revisions_cannot_be_compared(here, since, store, reset):
    boss = await here.token("boss", "admin")
    await here.apply(boss, domains=[{"name": "a.example"}])
    await here.apply(boss, domains=[{"name": "a.example"}, {"name": "b.example"}])
    await here.node("n1")
    _, lines = await watching(here)
    async with aclosing(lines):
        hello = feed.read(await anext(lines))
    same = hello.store if store == "same" else store

    _, lines = await watching(here, since=since, store=same)
    async with aclosing(lines):
        seen = await until(following(lines), Synced)

    assert isinstance(seen[0], Hello)
    assert seen[0].reset is reset
    names = [put.name for m in seen if isinstance(m, ChangeMessage) for put in m.put]
    assert names == (["b.example"] if since == 1 and not reset else ["a.example", "b.example"])


async def test_a_node_from_before_the_floor_starts_over(here):
    boss = await here.token("boss", "admin")
    await here.apply(boss, domains=[{"name": "a.example"}])
    await here.apply(boss, domains=[])
    from edgeward.declaration import store

    async with here.parts.database.writing() as writing:
        await store.sweep(writing, 10**12)
        identity = (await store.store(writing.connection)).identity
    await here.node("n1")
    for since, reset in ((1, True), (2, False)):
        _, lines = await watching(here, since=since, store=identity)
        async with aclosing(lines):
            assert feed.read(await anext(lines)).reset is reset


async def test_a_change_reaches_a_node_at_once_and_silence_is_broken_by_pings(here, monkeypatch):
    monkeypatch.setattr(streams, "_PING", 0.2)
    boss = await here.token("boss", "admin")
    await here.node("n1")
    _, lines = await watching(here)
    async with aclosing(lines):
        messages = following(lines)
        await until(messages, Synced)
        await until(messages, Ping)
        monkeypatch.setattr(streams, "_PING", 3600)
        seeing = asyncio.create_task(until(messages, Synced))
        await asyncio.sleep(0.05)
        await here.apply(boss, domains=[{"name": "a.example"}])
        seen = await seeing

    assert [p.name for m in seen if isinstance(m, ChangeMessage) for p in m.put] == ["a.example"]


async def test_a_stream_ends_with_its_token_and_with_a_newer_stream(here):
    await here.node("n1")
    who, first = await watching(here)
    async with aclosing(first):
        await until(following(first), Synced)
        _, second = await watching(here)
        async with aclosing(second), asyncio.timeout(30):
            assert [line async for line in first] == []
            await until(following(second), Synced)
            await here.parts.cases.tokens.revoked(ADMIN, who.token_id)
            assert [line async for line in second] == []


async def test_a_forgotten_node_is_gone_and_its_token_too(here):
    boss, node = await here.token("boss", "admin"), await here.node("n1")
    assert (await here.http.delete("/v1/nodes/n1", headers=boss)).status_code == 204

    assert (await here.http.get("/v1/nodes/n1", headers=boss)).status_code == 404
    report = Report(version="1", revision=0, received=0, envoy=EnvoyState(state="down")).model_dump()
    assert (await here.http.post("/v1/nodes/n1/report", json=report, headers=node)).status_code == 401


async def test_a_node_is_asked_and_its_answer_comes_back(here):
    node = await here.node("n1")
    assert await here.parts.registry.ask("n1", "a.example") is None
    _, lines = await watching(here)
    async with aclosing(lines):
        messages = following(lines)
        await until(messages, Synced)
        asking = asyncio.create_task(here.parts.registry.ask("n1", "a.example"))
        ask = (await until(messages, feed.Ask))[-1]
        assert ask.name == "a.example"
        body = Answer(id=ask.id, tier="disk").model_dump(mode="json")
        reading = asyncio.create_task(anext(messages, None))
        assert (await here.http.post("/v1/nodes/n1/answers", json=body, headers=node)).status_code == 204
        assert (await asking).tier == "disk"
        assert await here.parts.registry.ask("n1", "a.example", timeout=0.05) is None
        reading.cancel()
        await asyncio.wait({reading})


async def test_joining_twice_is_for_nodes_that_left(here):
    join = await here.token("join", "node")
    boss = await here.token("boss", "admin")
    first = (await here.http.post("/v1/nodes/join", json={"name": "n1"}, headers=join)).json()
    assert first["controller"] == "https://controller"
    assert "BEGIN CERTIFICATE" in first["ca"]
    _, lines = await watching(here)
    async with aclosing(lines):
        await anext(lines)
        assert (await here.http.post("/v1/nodes/join", json={"name": "n1"}, headers=join)).status_code == 409
    again = (await here.http.post("/v1/nodes/join", json={"name": "n1"}, headers=join)).json()
    old = await here.http.get("/v1/nodes/n1/watch", headers={"authorization": f"Bearer {first['token']}"})
    assert old.status_code == 401
    assert again["token"] != first["token"]
    assert [n["name"] for n in (await here.http.get("/v1/nodes", headers=boss)).json()["items"]] == ["n1"]


# --- reports and waiting -----------------------------------------------------------------------


def report(revision: int, received: int | None = None, *rejections: Rejection) -> dict[str, object]:
    return Report(
        version="1",
        revision=revision,
        received=revision if received is None else received,
        rejections=rejections,
        envoy=EnvoyState(state="serving"),
    ).model_dump(mode="json")


async def test_waiting_ends_when_every_node_serves_it_or_one_refuses(here):
    boss = await here.token("boss", "admin")
    nobody = (await here.http.get("/v1/wait?revision=1&timeout=0.05", headers=boss)).json()
    assert (nobody["done"], nobody["nodes"]) == (False, [])
    node = await here.node("n1")
    _, lines = await watching(here)
    async with aclosing(lines):
        await anext(lines)
        waiting = asyncio.create_task(here.http.get("/v1/wait?revision=5&timeout=10", headers=boss))
        await here.http.post("/v1/nodes/n1/report", json=report(4), headers=node)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await here.http.post("/v1/nodes/n1/report", json=report(5), headers=node)
        assert (await waiting).json()["done"] is True

        refusal = Rejection(object="services/default/shop", message="no such cipher", revision=6)
        waiting = asyncio.create_task(here.http.get("/v1/wait?revision=6&timeout=10", headers=boss))
        await here.http.post("/v1/nodes/n1/report", json=report(5, 6, refusal), headers=node)
        answer = (await waiting).json()
    assert answer["done"] is False
    assert answer["nodes"][0]["rejections"][0]["message"] == "no such cipher"


async def test_a_node_that_reports_an_endless_revision_is_not_believed(here):
    node, boss = await here.node("n1"), await here.token("boss", "admin")
    said = report(4) | {"revision": 10**400}

    assert (await here.http.post("/v1/nodes/n1/report", json=said, headers=node)).status_code == 422
    assert (await here.http.get("/metrics", headers=boss)).status_code == 200


async def test_reports_outlive_the_controller_and_show_each_project_its_own(here, tmp_path, database_url):
    node, boss = await here.node("n1"), await here.token("boss", "admin")
    tenant = await here.token("tenant", "viewer", "t")
    refusals = [Rejection(object=f"services/{p}/s", message="m", revision=1) for p in ("default", "t")]
    await here.http.post("/v1/nodes/n1/report", json=report(1, 1, *refusals), headers=node)

    shown = [
        [
            r["object"]
            for r in (await here.http.get("/v1/status", headers=h)).json()["nodes"][0]["report"]["rejections"]
        ]
        for h in (boss, tenant)
    ]
    assert shown == [["services/default/s", "services/t/s"], ["services/t/s"]]
    async with controller(tmp_path, database_url) as later:
        await later.parts.nodes.load()
        (found,) = (await later.http.get("/v1/nodes", headers=boss)).json()["items"]
    assert (found["name"], found["connected"], found["report"]["revision"]) == ("n1", False, 1)


async def test_hot_names_come_with_an_rsa_certificate_and_the_keys_of_sessions(here):
    boss = await here.token("boss", "admin")
    await here.apply(boss, domains=[{"name": "hot.example", "hot": True}, {"name": "cold.example"}])
    issuance = here.parts.certificates.issuance
    await eager.make_missing(issuance, list(issuance.policy().eager()))
    following, seen = Feed(here.parts.looks, {"name": "n1"}, 0), []
    for hours in (0, 13, 14):
        await tickets.rotate(issuance, issuance.clock() + hours * 3600)
        found = await following.round()
        seen.append([p for m in found.messages for p in m.put if p.kind == "certificates"])

    hot = [[p.value for p in puts if p.name == "hot.example"] for puts in seen]
    assert [len(values) for values in hot] == [1, 1, 0]
    assert "BEGIN CERTIFICATE" in hot[0][0]["rsa"]["chain"] and hot[0][0]["rsa"] == hot[1][0]["rsa"]
    assert len(hot[0][0]["ticket_keys"]) == 1
    assert hot[1][0]["ticket_keys"][1:] == hot[0][0]["ticket_keys"]
    cold = [p.value for puts in seen for p in puts if p.name == "cold.example"]
    assert len(cold) == 1 and not {"rsa", "ticket_keys"} & set(cold[0])


async def test_a_look_is_not_kept_once_it_is_old(here, admin):
    await here.apply(admin, domains=[{"name": "a.example"}])
    looks = here.parts.looks
    look = await looks.look(reading.Start(Position(0), 0))
    assert look.items
    held = weakref.ref(look)
    del look

    async with asyncio.timeout(30):
        while held() is not None:
            await asyncio.sleep(0.05)
            gc.collect()
