"""Two controllers on one PostgreSQL: a node that follows one of them is known to both."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import pytest

from edgeward.access import store
from edgeward.access.model import Principal
from edgeward.api.actions import Caller
from edgeward.controller import entry
from edgeward.declaration.feed import Answer, EnvoyState, Rejection, Report, read
from edgeward.errors import Conflict, NotFound
from tests.unit.controller.assembled import ADMIN, controller


@contextlib.asynccontextmanager
async def working(path, url):
    """A controller that hears of the others."""
    async with controller(path, url) as here:
        parts = here.parts
        hears = asyncio.Event()
        parts.database.on("regained", lambda _: hears.set())
        works = (
            parts.database.listen(),
            parts.fleet.run(),
            parts.questions.run(),
            parts.state.follow(parts.database),
        )
        tasks = [asyncio.create_task(work) for work in works]
        await asyncio.wait_for(hears.wait(), 30)
        try:
            yield here
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await parts.fleet.leave()


@pytest.fixture
async def two(tmp_path, postgres_url):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    async with working(first, postgres_url) as one:
        shutil.copy(first / "seal.key", second / "seal.key")
        async with working(second, postgres_url) as other:
            yield one, other


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def connected(here, name: str = "n1") -> bool:
    node = here.parts.registry.find(name)
    return node is not None and here.parts.registry.connected(node)


@contextlib.asynccontextmanager
async def following(here, name: str = "n1"):
    """A node that reads its feed and answers what it is asked; gives who it is and the task that reads."""
    async with here.parts.database.reading() as connection:
        (token,) = await store.of_node(connection, name, 0)
    who = Principal(token.id, "node", "node", "*", name)
    lines = await here.parts.nodes.watched(who, 0, "")

    async def follow() -> None:
        async for line in lines:
            message = read(line)
            if message.type == "ask":
                answer = Answer(id=message.id, tier="memory", notes=("x" * 9000,))
                await here.parts.nodes.answered(who, answer)
            elif message.type == "run":
                came = {"outcome": "done", "exit": 0, "output": f"{message.action} " + "é" * 9000}
                await here.parts.nodes.answered(who, Answer(id=message.id, tier="none", run=came))

    task = asyncio.create_task(follow())
    try:
        yield who, task
    finally:
        task.cancel()
        await asyncio.wait({task})
        await lines.aclose()


def report(revision: int, *rejections: Rejection) -> Report:
    envoy = EnvoyState(state="serving")
    return Report(version="1", revision=revision, received=revision, rejections=rejections, envoy=envoy)


async def test_a_node_that_follows_one_controller_is_connected_for_both(two):
    one, other = two
    await one.node("n1")
    await until(lambda: other.parts.registry.find("n1") is not None)
    assert not connected(other)
    async with following(one):
        await until(lambda: connected(one) and connected(other))
        with pytest.raises(Conflict, match="connected"):
            await other.parts.nodes.joined(ADMIN, "n1", "https://127.0.0.1:1")
    await until(lambda: not connected(one) and not connected(other))


async def test_waiting_ends_when_a_node_of_the_other_controller_reports(two):
    one, other = two
    await one.node("n1")
    async with following(one) as (who, _):
        await until(lambda: connected(other))
        waiting = asyncio.create_task(other.parts.nodes.waited(ADMIN, 7, 20))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await one.parts.nodes.reported(who, report(7))
        waited = await asyncio.wait_for(waiting, 30)

        assert waited["done"]
        refused = Rejection(object="services/default/shop", message="no", revision=8)
        await one.parts.nodes.reported(who, report(7, refused))
        await until(lambda: other.parts.registry.find("n1").report.rejections == (refused,))


async def test_a_node_is_asked_through_the_controller_it_follows(two):
    one, other = two
    await one.node("n1")
    async with following(one):
        await until(lambda: connected(other))
        (here,) = await one.parts.questions.asked("a.example")
        (there,) = await other.parts.questions.asked("a.example")

    assert here.answer is not None and here.answer.tier == "memory"
    assert there.answer is not None and there.answer.tier == "memory"
    assert there.connected
    assert there.answer.notes == ()  # too long to be told


async def test_an_action_is_run_through_the_controller_that_its_node_follows(two):
    one, other = two
    await one.node("n1")
    async with following(one):
        await until(lambda: connected(other))
        here = await one.parts.cases.actions.run(ADMIN, Caller("::1"), "a", {"x": 1}, None, 10)
        there = await other.parts.cases.actions.run(ADMIN, Caller("::1"), "b", {"x": 1}, "n1", 10)

    assert here["output"] == "a " + "é" * 9000
    assert there["exit"] == 0
    assert (
        there["output"].startswith("b é") and len(there["output"]) < 3000
    )  # shortened to fit, and it says so
    assert there["truncated"]


async def test_who_moves_to_another_controller_is_left_alone_by_the_first(two):
    one, other = two
    await one.node("n1")
    async with following(one) as (_, first):
        await until(lambda: connected(other))
        async with following(other):
            await asyncio.wait_for(asyncio.wait({first}), 30)
            await until(lambda: one.parts.registry.find("n1").elsewhere == other.parts.fleet.me.id)
            assert connected(one) and connected(other)


async def test_what_is_revoked_at_one_controller_is_cut_at_the_other(two):
    one, other = two
    await one.node("n1")
    await until(lambda: other.parts.registry.find("n1") is not None)
    async with following(other) as (who, reading):
        await until(lambda: connected(one))
        await one.parts.cases.tokens.revoked(ADMIN, who.token_id)
        await asyncio.wait_for(asyncio.wait({reading}), 30)


async def test_a_forgotten_node_is_forgotten_everywhere(two):
    one, other = two
    await one.node("n1")
    await until(lambda: other.parts.registry.find("n1") is not None)
    async with following(one) as (_, reading):
        await other.parts.nodes.forgotten(ADMIN, "n1")
        await asyncio.wait_for(asyncio.wait({reading}), 30)
    await until(lambda: one.parts.registry.find("n1") is None and other.parts.registry.find("n1") is None)
    with pytest.raises(NotFound):
        await one.parts.nodes.found(ADMIN, "n1")


async def test_labels_set_at_one_controller_are_known_at_the_other(two):
    one, other = two
    await one.node("n1")
    await one.parts.nodes.labelled(ADMIN, "n1", {"region": "eu"})
    await until(lambda: other.parts.registry.find("n1") is not None)
    await until(lambda: other.parts.registry.find("n1").labels.get("region") == "eu")


async def test_the_node_of_one_host_does_not_take_the_name_of_another_hosts(two, tmp_path):
    one, other = two
    await one.node("n1")
    parts = other.parts

    async def identity() -> None:
        path = tmp_path / "identity.json"
        roots = parts.certified.roots()
        await entry.local_identity(path, "n1", "https://127.0.0.1:1", parts.nodes, parts.access, roots)

    async with following(one) as (_, reading):
        await until(lambda: connected(other))
        with pytest.raises(Conflict, match="another name"):
            await identity()
        assert not reading.done()
    await until(lambda: not connected(other))
    await identity()


async def test_status_names_every_controller(two):
    one, other = two
    await until(lambda: len(one.parts.fleet.shown()) == len(other.parts.fleet.shown()) == 2)
    status = await one.parts.seeing.status(ADMIN)

    assert [c["here"] for c in status["controllers"]] == [True, False]
    assert {c["id"] for c in status["controllers"]} == {one.parts.fleet.me.id, other.parts.fleet.me.id}


async def test_what_one_controller_changes_the_other_knows_at_once(two):
    one, other = two
    boss = await one.token("boss", "admin")
    assert (await one.apply(boss, domains=[{"name": "a.example"}])).status_code == 200
    await until(lambda: other.parts.state.policy().covering("a.example") is not None)
