"""How tunnels do, from a real charon by the node's agent to the controller's API: told as it happens, with why."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeward.declaration.feed import EnvoyState, Report
from edgeward.node.tunnels.agent import Agent
from edgeward.node.tunnels.telling import Telling
from edgeward.secret import Secret
from edgeward.vpn.desired import Dpd, Psk
from edgeward.vpn.drivers.strongswan.driver import opened
from tests.integration import tunnel_rig
from tests.integration.tunnel_rig import NAME, Edge, connection, gateway, says
from tests.patience import PATIENCE
from tests.unit.controller.assembled import Controller, controller

pytestmark, edge = tunnel_rig.MARKS, tunnel_rig.edge


class Installation:
    """A controller that is asked in this process, and the agent of its one node, which tells it."""

    def __init__(self, here: Controller, agent: Agent, boss: dict[str, str], node: dict[str, str]) -> None:
        self.here, self.agent, self.boss, self.node = here, agent, boss, node

    async def send(self, tunnels: Any) -> None:
        body = tunnels.model_dump(mode="json")
        answer = await self.here.http.post("/v1/nodes/n1/tunnels", json=body, headers=self.node)
        assert answer.status_code == 204, answer.text

    async def ask(self, method: str, path: str) -> Any:
        answer = await self.here.http.request(method, path, headers=self.boss)
        return answer.json() if answer.is_success else {"failed": answer.json()["detail"]}

    async def status(self, id_: str) -> Any:
        return await self.ask("GET", f"/v1/vpn/{id_}/status")

    async def until(self, id_: str, *phases: str, seconds: float = 30.0) -> Any:
        end = time.monotonic() + seconds * PATIENCE
        while (found := await self.status(id_))["phase"] not in phases:
            assert time.monotonic() < end, (found, await self.events())
            await asyncio.sleep(0.1)
        return found

    async def events(self) -> list[Any]:
        answer = await self.here.http.get("/v1/events?follow=false&last=100&types=tunnel", headers=self.boss)
        data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
        return [json.loads(one) for one in data]


@asynccontextmanager
async def installation(edge: Edge, directory: Path, *connections: Any) -> AsyncIterator[Installation]:
    declared = gateway(edge, *connections)
    directory.mkdir()
    async with controller(directory) as here, edge.agent() as agent:
        boss, node = await here.token("boss", "admin"), await here.node("n1")
        await here.parts.registry.begin("n1", "t")
        here.parts.cases.tunnels.known.gateways = lambda: [declared]  # type: ignore[attr-defined]
        found = Installation(here, agent, boss, node)
        telling = Telling(agent.doings, found.send)
        here.parts.cases.steering._ask = edge.steered(agent)  # type: ignore[attr-defined]
        agent.changed = telling.changed
        running = [asyncio.create_task(work) for work in (telling.run(), _reporting(here))]
        agent.take(says(declared))
        try:
            yield found
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _reporting(here: Controller) -> None:
    """Have the node be heard of."""
    while True:
        serving = EnvoyState(state="serving")
        report = Report(version="1", revision=0, received=0, envoy=serving)
        await here.parts.registry.reported("n1", report)
        await asyncio.sleep(5)


async def test_a_tunnel_is_told_of_as_it_comes_up_ends_and_comes_back(edge: Edge, tmp_path: Path) -> None:
    one = connection(edge)
    async with edge.answering(one), installation(edge, tmp_path / "c", one) as here:
        up = await here.until(one.id, "active")
        assert up["children"][0]["spi_in"] and up["algorithms"] and up["gateway"]["phase"] == "running"
        assert (await here.ask("GET", f"/v1/explain/vpn/{one.id}"))["well"]

        ended = await here.ask("POST", f"/v1/vpn/{one.id}/terminate")
        assert ended["outcome"] == "done", ended
        down = await here.until(one.id, "down")
        explained = await here.ask("GET", f"/v1/explain/vpn/{one.id}")
        assert explained["steps"][-1]["step"] == "peer" and explained["reason"] and explained["remedy"], down
        assert (await here.ask("POST", f"/v1/vpn/{one.id}/initiate"))["outcome"] == "done"
        await here.until(one.id, "active")

        said = await here.ask("POST", f"/v1/vpn/{one.id}/debug?level=2")
        assert any("charon.vici" in command for command in said["commands"]), said
        fresh = await here.ask("GET", f"/v1/vpn/{one.id}/status?fresh=true")
        assert fresh["phase"] == "active" and fresh["heard"] >= up["heard"]

        phases = [event["phase"] for event in await here.events()]
        assert phases[0] in ("connecting", "active", "down") and phases.count("active") == 2, phases
        log = await here.ask("GET", f"/v1/vpn/{one.id}/log?last=1000")
        assert {"phase", "initiate", "terminate", "verbosity", "daemon"} == {
            one["what"] for one in log["items"]
        }
        wrote = [line["line"] for line in log["items"] if line["what"] == "daemon"]
        assert any("initiating" in line for line in wrote) and any("deleting" in line for line in wrote), (
            wrote
        )


async def test_a_daemon_that_is_killed_takes_its_tunnels_down_for_all_to_see(
    edge: Edge, tmp_path: Path
) -> None:
    one = connection(edge)
    async with edge.answering(one), installation(edge, tmp_path / "c", one) as here:
        await here.until(one.id, "active")
        os.kill(edge.pid("vpn", NAME, "daemon"), signal.SIGKILL)
        async with asyncio.timeout(30):
            while [event["phase"] for event in await here.events()].count("active") < 2:
                await asyncio.sleep(0.02)
        events = await here.events()
        assert any(event["phase"] == "down" and event["reason"] for event in events), events


@pytest.mark.parametrize("wrong", ["secret", "silence"])
async def test_why_a_tunnel_does_not_come_up_is_said_with_what_to_do(
    edge: Edge,
    tmp_path: Path,
    wrong: str,
) -> None:
    theirs = connection(edge)
    ours = theirs.model_copy(update={"auth": Psk(secret=Secret("another")), "dpd": Dpd(interval=5)})
    cause = {"secret": "pre-shared", "silence": "no answer"}[wrong]
    async with installation(edge, tmp_path / "c", ours) as here:
        if wrong == "secret":
            async with edge.answering(theirs):
                found = await _explained(here, ours.id, cause)
        else:
            found = await _explained(here, ours.id, cause)
    assert found["steps"][-1]["step"] == "peer" and found["remedy"], found


async def _explained(here: Installation, id_: str, cause: str) -> Any:
    found: Any = {}
    async with asyncio.timeout(60):
        while cause not in (found.get("reason") or ""):
            found = await here.ask("GET", f"/v1/explain/vpn/{id_}")
            await asyncio.sleep(0.1)
    return found


async def test_the_other_side_ends_it_and_the_api_knows(edge: Edge, tmp_path: Path) -> None:
    one = connection(edge)
    theirs = one.model_copy(
        update={
            "local_address": edge.peer.outside,
            "peer_address": edge.host.outside,
            "local_id": "b",
            "peer_id": "a",
            "local_networks": one.peer_networks,
            "peer_networks": one.local_networks,
        }
    )
    with edge.peer.charon() as charon:
        peer = await opened(charon.socket)
        await peer.load(theirs, None, initiate=False)
        async with installation(edge, tmp_path / "c", one) as here:
            await here.until(one.id, "active")
            before = len(await here.events())
            await peer.terminate(one.id)
            async with asyncio.timeout(30):
                while len(await here.events()) == before:
                    await asyncio.sleep(0.1)
            told = (await here.events())[before]
            assert told["before"] == "active" and told["reason"], told
        await peer.close()
