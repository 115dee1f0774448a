"""``edgeward vpn migrate`` of a tunnel that carries: command, controller, agent, rootd, both daemons, and pings."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from tests.integration import test_tunnel_migration
from tests.integration.gateway_rig import own_certificate
from tests.integration.test_openstack_tunnel import followed
from tests.integration.test_tunnel_migration import Both, needs_esp
from tests.integration.test_tunnel_status import _reporting
from tests.integration.tunnel_rig import until
from tests.integration.vpn_rig import Site, pinging
from tests.ports import free_port
from tests.unit.api.openstack.neutron import Neutron
from tests.unit.controller.assembled import Controller, controller

pytestmark, edge = test_tunnel_migration.pytestmark, test_tunnel_migration.edge


@asynccontextmanager
async def served(here: Controller, directory: Path) -> AsyncIterator[dict[str, str]]:
    """Have the controller's API be reached by commands; gives what they need to know."""
    chain, key = own_certificate("localhost")
    (directory / "chain.pem").write_bytes(chain)
    (directory / "key.pem").write_bytes(key)
    port = free_port()
    config = uvicorn.Config(
        here.parts.app, port=port, log_level="error", lifespan="off",
        ssl_certfile=directory / "chain.pem", ssl_keyfile=directory / "key.pem",
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    token = (await here.token("boss", "admin"))["authorization"].partition(" ")[2]
    await until(lambda: server.started, 60)
    try:
        yield {
            "EDGEWARD_API": f"https://localhost:{port}", "EDGEWARD_TOKEN": token,
            "EDGEWARD_CA": str(directory / "chain.pem"),
        }  # fmt: skip
    finally:
        server.should_exit = True
        await serving


async def said(environment: dict[str, str], *words: str) -> str:
    argv = [sys.executable, "-P", "-m", "edgeward.cli", *words]
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, **environment}, stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    out = (await process.communicate())[0].decode()
    assert process.returncode == 0, out
    return out


@needs_esp
@pytest.mark.slow
async def test_a_tunnel_that_carries_is_given_to_the_other_daemon_and_back(
    edge: Both, tmp_path: Path
) -> None:
    site = {
        "name": "berlin", "peer": edge.peer.outside, "local_id": "a", "remote_id": "b",
        "local_networks": edge.host.network, "remote_networks": edge.peer.network, "secret": "s",
        "outside": {
            "address": f"{edge.host.outside}/24", "next_hop": edge.host.router, "bridge": "br-ex",
        },
    }  # fmt: skip
    async with controller(tmp_path) as here, edge.agent() as agent, served(here, tmp_path) as environment:
        boss = await here.token("somebody", "admin")
        assert (await here.apply(boss, vpn=[site])).status_code == 200
        (gateway,) = here.parts.tunnels.gateways.now()
        await here.parts.registry.begin("n1", "t")
        here.parts.cases.steering._ask = edge.steered(agent)  # type: ignore[attr-defined]
        reporting = asyncio.create_task(_reporting(here))

        def phase() -> str:
            doing = agent.doings().get(gateway.id)
            states = list(doing.states.values()) if doing else []
            return states[0].phase if states else ""

        async with edge.answering(gateway.connections[0]), followed(Neutron(here, boss), agent):
            await until(lambda: phase() == "active", 90)
            within = Site(edge.pid("namespaces", f"vpn-{gateway.id}"), 1, edge.place)
            for driver in ("libreswan", "strongswan"):
                with pinging(within, edge.host.inner, edge.peer.inner, 0.01) as pings:
                    out = await said(
                        environment, "vpn", "migrate", "berlin", "--driver", driver, "--timeout", "200"
                    )
                print(out, f"{pings.lost} of {pings.sent} pings were lost")
                assert f"default/berlin is up by {driver}; the former keys carried it until then" in out
                counted = re.search(r"(\d+|no) packets? w\w+ dropped here", out)
                assert counted, out
                assert pings.lost <= 50, f"{pings.lost} of {pings.sent}: {out}"
        reporting.cancel()
