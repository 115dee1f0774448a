"""Ten nodes on one real controller: it is restarted, it changes; nobody takes anything twice."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeward.node.controllers import identity as identities
from edgeward.node.controllers.asking import Asking
from edgeward.node.controllers.catching_up import CatchingUp
from edgeward.node.controllers.following import Following
from edgeward.node.controllers.known import Controllers
from edgeward.node.controllers.link import Link
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import State
from edgeward.sealing import Seal, key_of
from tests.integration.controller_setup import Controller

NODES, DOMAINS = 10, 300


class Node:
    """Follows like a node does, in this process and without Envoy."""

    def __init__(self, directory: Path, name: str) -> None:
        self.file = directory / name / "identity.json"
        self.name = name
        self.copy = LastGood(directory / name / "copy.db", Seal(key_of(directory / "seal.key")))
        self.state = State()
        self.following = Following(self.copy, self.state, lambda _: None)
        self.caught_up = CatchingUp()
        self.controllers = Controllers(self.file, (), time.monotonic)
        asking = Asking(self.controllers)
        self.link = Link(self.controllers, asking, self.following, self._asked, self.caught_up)

    async def _asked(self, _: object) -> None:
        raise AssertionError

    @property
    def total(self) -> dict[str, int]:
        return dict(self.caught_up.total)


async def hold(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within 20 s: {what}") from None


@asynccontextmanager
async def following(nodes: list[Node]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(node.link.run()) for node in nodes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for node in nodes:
            await node.link.close()
            node.copy.close()


async def joined(here: Controller, directory: Path) -> list[Node]:
    with here.client() as client:
        made = client.post("/v1/tokens", json={"name": "join", "role": "node"}).json()
    nodes = [Node(directory, f"n{i}") for i in range(NODES)]
    with here.client(made["token"]) as client:
        for node in nodes:
            answer = client.post("/v1/nodes/join?protocol=2", json={"name": node.name})
            identities.save(node.file, identities._identity(answer_of(answer)))
    return nodes


def answer_of(answer) -> identities.Reply:
    assert answer.status_code == 201, answer.text
    return identities.Reply(answer.status_code, answer.content)


@pytest.mark.slow
async def test_a_restarted_controller_sends_nobody_what_he_has(tmp_path: Path) -> None:
    here = Controller(tmp_path / "state")
    names = "".join(f"  - {{name: d{i}.example, on_demand: true}}\n" for i in range(DOMAINS))
    here.declare(f"version: 1\ndomains:\n{names}")
    with here.start():
        nodes = await joined(here, tmp_path)
        running = following(nodes)
        await running.__aenter__()
        await hold(lambda: all(len(n.state.domains) == DOMAINS for n in nodes), "everything")
        before = [node.total for node in nodes]
        assert all(total["objects"] == DOMAINS and total["resets"] == 1 for total in before)
    try:
        with here.start():
            await hold(lambda: all(n.total["connections"] == 2 and n.link.connected for n in nodes), "again")
            await hold(lambda: all(n.following.synced for n in nodes), "all that was missed")
            await asyncio.sleep(0.5)
            after = [node.total for node in nodes]
            for old, new in zip(before, after, strict=True):
                assert new["objects"] == old["objects"] and new["resets"] == 1
                assert new["bytes"] - old["bytes"] < 2000

            with here.client() as client:
                assert client.put("/v1/domains/new.example", json={"on_demand": True}).status_code == 201
            await hold(lambda: all("new.example" in n.state.domains for n in nodes), "the change")
            assert all(node.total["objects"] == DOMAINS + 1 for node in nodes)
    finally:
        await running.__aexit__(None, None, None)


@pytest.mark.slow
async def test_a_node_that_was_away_beyond_the_tombstones_begins_anew(tmp_path: Path) -> None:
    import sqlite3

    here = Controller(tmp_path / "state")
    here.declare("version: 1\ndomains: [{name: a.example}, {name: b.example}]\n")
    with here.start():
        nodes = (await joined(here, tmp_path))[:2]
        for node in nodes:
            async with following([node]):
                await hold(lambda node=node: len(node.state.domains) == 2, "everything")
        with here.client() as client:
            gone = client.delete("/v1/domains/b.example", params={"take_over": True})
            assert gone.status_code == 204
    database = sqlite3.connect(tmp_path / "state" / "edgeward.db")
    with database:
        database.execute("DELETE FROM tombstones")
        database.execute("UPDATE counter SET floor = revision")
    database.close()
    here.file.unlink()
    with here.start():
        again = Node(tmp_path, "n0")
        again.following.load()
        assert len(again.state.domains) == 2
        async with following([again]):
            await hold(lambda: set(again.state.domains) == {"a.example"}, "what there is now")
        assert again.total["resets"] == 1


@pytest.mark.slow
async def test_nodes_of_a_killed_controller_go_on_at_the_other_and_read_nothing_twice(
    tmp_path: Path, postgres_url: str
) -> None:
    one, two = (Controller(tmp_path / name, env={"EDGEWARD_DATABASE": postgres_url}) for name in "ab")
    with one.start() as process:
        two.state_dir.mkdir(mode=0o700)
        shutil.copy(one.state_dir / "seal.key", two.state_dir / "seal.key")
        with two.start(), one.client() as client:
            shutil.copy(one.state_dir / "admin.token", two.state_dir / "admin.token")
            for name in ("everywhere", "eu", "us"):
                nodes = {} if name == "everywhere" else {"nodes": {"region": name}}
                answer = client.put(f"/v1/domains/{name}.example", json={"on_demand": True, **nodes})
                assert answer.status_code == 201, answer.text
            nodes = (await joined(one, tmp_path))[:4]
            async with following(nodes):
                await hold(lambda: all(set(n.state.domains) == {"everywhere.example"} for n in nodes), "all")
                await hold(
                    lambda: all(len(n.controllers.candidates()) == 2 for n in nodes), "the other's name"
                )
                process.send(signal.SIGKILL)
                process.wait()
                await hold(lambda: all(n.link.controller == two.url for n in nodes), "the other controller")
                assert all(n.total["objects"] == 1 and n.total["resets"] == 1 for n in nodes)

                with two.client() as other:
                    body = {"labels": {"region": "eu"}}
                    assert other.put("/v1/nodes/n0/labels", json=body).status_code == 200
                await hold(lambda: "eu.example" in nodes[0].state.domains, "what its label selects")
                assert set(nodes[0].state.domains) == {"everywhere.example", "eu.example"}
                assert all(set(n.state.domains) == {"everywhere.example"} for n in nodes[1:])
