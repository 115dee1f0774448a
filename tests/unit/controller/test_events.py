"""Events over HTTP: all of them in one order, read on from any, and nobody's who may not see them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from edgeward.access.authenticate import Authenticator
from edgeward.access.model import Principal
from edgeward.api.events import Follow
from edgeward.controller.events import Events
from edgeward.database.engine import open_database
from edgeward.declaration import events
from edgeward.errors import Unavailable
from tests.unit.controller.assembled import ADMIN, on_both
from tests.unit.controller.declared.test_objects import DOMAIN, WHOLE, detail


def read(text: str) -> list[tuple[int, str, dict]]:
    """Give the dispatched events of a stream: id, type, data (WHATWG HTML 9.2.6)."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":")
        )
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def all_of(here, headers, query: str = "after=0", **more):
    answer = await here.http.get(f"/v1/events?follow=false&{query}", headers=headers | more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return read(answer.text)


async def put(here, headers, *names: str):
    for name in names:
        assert (await here.http.put(f"/v1/domains/{name}", json={}, headers=headers)).status_code == 201


async def test_a_change_is_an_event_with_who_and_what(here, admin):
    await here.apply(admin, **WHOLE)
    await here.http.post("/v1/history/0/rollback", json={}, headers=admin)

    first, second = [data for _, kind, data in await all_of(here, admin) if kind == "change"]

    assert (first["who"], first["source"], first["project"]) == ("boss", "file:a", "default")
    assert (first["created"], first["rolled_back_to"]) == (3, None)
    assert {"action": "create", "key": "domains/default/shop.example"} in first["objects"]
    assert (second["deleted"], second["rolled_back_to"]) == (3, 0)
    assert second["revision"] > first["revision"]


@on_both
async def test_a_reader_goes_on_behind_any_event_without_gap_or_repetition(here, admin):
    await put(here, admin, *(f"d{i}.example" for i in range(8)))
    whole = await all_of(here, admin)

    for cut in range(len(whole) + 1):
        position = whole[cut - 1][0] if cut else 0
        assert await all_of(here, admin, f"after={position}") == whole[cut:]
        assert await all_of(here, admin, "", **{"last-event-id": str(position)}) == whole[cut:]
    both = await all_of(here, admin, "after=0", **{"last-event-id": str(whole[-2][0])})
    assert both == whole[-1:], "a browser that reconnects asks the same address again"
    assert await all_of(here, admin, "last=2") == whole[-2:]
    assert await all_of(here, admin, "last=500") == whole
    assert await all_of(here, admin, "") == []


async def test_more_events_than_are_read_at_once_all_come(here, admin):
    happened = [events.Happened("node", None, {"n": i}) for i in range(450)]
    async with here.parts.database.writing() as writing:
        await events.record(writing, happened, 0, 0.0)

    assert [data["n"] for _, _, data in await all_of(here, admin, "after=0&types=node")] == list(range(450))


@on_both
async def test_events_are_filtered_by_type_and_project(here, admin):
    await put(here, admin, "a.example")
    await here.http.put("/v1/domains/t.example?project=t", json={}, headers=admin)
    await here.node("n1")

    assert [k for _, k, _ in await all_of(here, admin)] == ["change", "change", "node"]
    assert [k for _, k, _ in await all_of(here, admin, "after=0&types=node")] == ["node"]
    (found,) = await all_of(here, admin, "after=0&project=t")
    assert found[2]["objects"][0]["key"] == "domains/t/t.example"
    answer = await here.http.get("/v1/events?follow=false&types=node,x", headers=admin)
    assert (answer.status_code, "change, node" in detail(answer)) == (422, True)


async def test_nobody_learns_of_other_projects_nor_of_the_installation(here, admin):
    tenant = await here.token("tenant", "viewer", "t")
    whole = [DOMAIN, {"name": "t.example", "project": "t"}]
    await here.apply(admin, domains=whole, listen={"https": "127.0.0.1:8443"})
    await here.node("n1")

    (found,) = await all_of(here, tenant)

    assert (found[2]["created"], found[2]["objects"]) == (
        1,
        [{"action": "create", "key": "domains/t/t.example"}],
    )
    assert (await here.http.get("/v1/events?follow=false&project=default", headers=tenant)).status_code == 404
    default = await here.token("d", "viewer", "default")
    (found,) = await all_of(here, default)
    assert [o["key"] for o in found[2]["objects"]] == ["domains/default/shop.example"], "not listen"


@on_both
async def test_whose_events_are_not_kept_any_more_is_told_so_first(here, admin):
    await put(here, admin, *(f"d{i}.example" for i in range(6)))
    whole = await all_of(here, admin)
    async with here.parts.database.writing() as writing:
        assert await events.sweep(writing, 0.0, most=2) == 4

    kept = whole[-2:]
    reset, *rest = await all_of(here, admin, f"after={whole[1][0]}")
    assert (reset[0], reset[1], rest) == (whole[3][0], "reset", kept)
    assert "not kept any more" in reset[2]["reason"]
    assert await all_of(here, admin, f"after={whole[3][0]}") == kept, "the last one forgotten was read"
    (reset,) = await all_of(here, admin, "after=999999")
    assert (reset[0], reset[1]) == (whole[-1][0], "reset")
    async with here.parts.database.writing() as writing:
        await events.sweep(writing, 0.0, most=0)
    await put(here, admin, "new.example")
    (fresh,) = await all_of(here, admin, f"after={whole[-1][0]}")
    assert fresh[0] > whole[-1][0], "no id is given twice"


@pytest.mark.parametrize("given", ["x", "-1", "1e3", "9" * 40, "１"])
async def test_an_id_that_was_never_given_is_refused_in_words(here, admin, given):
    headers = {k.encode(): v.encode() for k, v in (admin | {"last-event-id": given}).items()}
    answer = await here.http.get("/v1/events?follow=false", headers=headers)

    assert answer.status_code == 422
    assert "Last-Event-ID" in detail(answer)


# --- streams that go on ---------------------------------------------------------------------------


class Reader:
    """Follows as a browser would, block by block."""

    def __init__(self, here, who: Principal, **wanted) -> None:
        self.here, self.who, self.wanted = here, who, wanted
        self.blocks: list[str] = []

    async def __aenter__(self):
        self.lines = await self.here.parts.events.followed(self.who, Follow(**self.wanted))
        self.task = asyncio.create_task(self.run())
        return self

    async def run(self):
        async for block in self.lines:
            self.blocks.append(block.decode())

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait({self.task})
        await self.lines.aclose()

    async def until(self, count: int):
        async with asyncio.timeout(30):
            while len(read("".join(self.blocks))) < count:
                await asyncio.sleep(0.01)
        return read("".join(self.blocks))


@pytest.fixture
async def tail(here):
    task = asyncio.create_task(here.parts.events.tail.run())
    yield here.parts.events.tail
    task.cancel()
    await asyncio.wait({task})


async def principal(here, headers) -> Principal:
    return await here.parts.access.authenticate(headers["authorization"].removeprefix("Bearer "), "")


@on_both
async def test_a_stream_brings_what_happens_from_now_on(here, admin, tail):
    await put(here, admin, "before.example")
    async with Reader(here, await principal(here, admin)) as reader:
        while not reader.blocks:
            await asyncio.sleep(0.01)
        assert "id: 1\n" in reader.blocks[0], "who is cut off before the first event knows where to go on"
        await put(here, admin, "a.example", "b.example")
        found = await reader.until(2)

    assert [d["objects"][0]["key"] for _, _, d in found] == [
        "domains/default/a.example",
        "domains/default/b.example",
    ]


async def test_a_stream_ends_with_its_token(here, admin, tail):
    token = await here.token("reader", "viewer")
    async with Reader(here, await principal(here, token)) as reader:
        await put(here, admin, "a.example")
        await reader.until(1)
        await here.http.delete("/v1/tokens/reader", headers=admin)
        async with asyncio.timeout(30):
            await reader.task
    await put(here, admin, "b.example")
    assert len(read("".join(reader.blocks))) == 1


async def test_all_streams_end_when_the_program_does(here, tail):
    async with Reader(here, ADMIN) as reader:
        while not reader.blocks:
            await asyncio.sleep(0.01)
        await tail.end()
        async with asyncio.timeout(30):
            await reader.task


async def test_a_token_follows_so_often_only_and_places_become_free(here, admin):
    who = await principal(here, admin)
    many = [await here.parts.events.followed(who, Follow()) for _ in range(20)]
    for lines in many:
        await anext(lines)
    with pytest.raises(Unavailable, match="20 times already"):
        await here.parts.events.followed(who, Follow())
    await many[0].aclose()
    await (await here.parts.events.followed(who, Follow())).aclose()
    for lines in many:
        await lines.aclose()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_reader_at_another_controller_goes_on_where_it_was(here, admin):
    """Two controllers share a PostgreSQL: an id of one is good at the other, which hears of all changes."""
    await put(here, admin, "a.example")
    first, *_ = await all_of(here, admin)
    elsewhere = open_database(here.parts.settings.database)
    other = Events(elsewhere, Authenticator(elsewhere, time.time))
    tasks = [asyncio.create_task(other.tail.run()), asyncio.create_task(elsewhere.listen())]
    lines = await other.followed(await principal(here, admin), Follow(after=first[0]))
    try:
        await anext(lines)
        await put(here, admin, "b.example", "c.example")
        async with asyncio.timeout(30):
            found = [(await anext(lines)).decode() for _ in range(2)]
    finally:
        await lines.aclose()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await elsewhere.close()

    assert [d["objects"][0]["key"] for _, _, d in read("".join(found))] == [
        "domains/default/b.example",
        "domains/default/c.example",
    ]


async def test_a_slow_reader_holds_nothing_up_and_misses_nothing(here, admin, tail):
    lines = await here.parts.events.followed(await principal(here, admin), Follow())
    await anext(lines)
    await put(here, admin, *(f"d{i}.example" for i in range(30)))
    found = [(await anext(lines)).decode() for _ in range(30)]
    await lines.aclose()

    assert [d["objects"][0]["key"] for _, _, d in read("".join(found))] == [
        f"domains/default/d{i}.example" for i in range(30)
    ]
