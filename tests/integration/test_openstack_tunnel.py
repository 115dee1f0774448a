"""From a client's POST to traffic: OpenStack's API, an agent, a real rootd and charon, and back as a status."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edgeward.declaration import feed
from edgeward.node.tunnels.agent import Agent
from edgeward.node.tunnels.telling import Telling
from tests.integration import tunnel_rig
from tests.integration.tunnel_rig import Edge, spis, until
from tests.integration.vpn_rig import Site, ping
from tests.patience import PATIENCE
from tests.unit.api.openstack.neutron import Neutron, neutron

pytestmark, edge = tunnel_rig.MARKS, tunnel_rig.edge
CONNECTIONS = "/vpn/ipsec-site-connections"
ALGORITHMS = {"encryption_algorithm": "aes-128-gcm-16", "auth_algorithm": "sha256", "pfs": "group19"}


async def site(here: Neutron, edge: Edge) -> None:
    """Make what a connection stands on, with the addresses of the rig."""
    outside = ipaddress.ip_interface(f"{edge.host.outside}/24").network
    world = await here.made(
        "/networks", "network", **{"router:external": True, "provider:physical_network": "br-ex"}
    )
    pool = [{"start": edge.host.outside, "end": edge.host.outside}]
    places = {"network_id": world["id"], "cidr": str(outside), "gateway_ip": edge.host.router}
    await here.made("/subnets", "subnet", ip_version=4, allocation_pools=pool, **places)
    inner = await here.made("/networks", "network")
    inside = await here.made(
        "/subnets",
        "subnet",
        ip_version=4,
        network_id=inner["id"],
        cidr=edge.host.network,
        gateway_ip=edge.host.inner,
    )
    info = {"network_id": world["id"]}
    router = await here.made("/routers", "router", name="gw", external_gateway_info=info)
    path = f"/routers/{router['id']}/add_router_interface"
    assert (await here.ask("PUT", path, {"subnet_id": inside["id"]})).status_code == 200
    here.ids["router"] = router["id"]
    here.ids["ike"] = (await here.made("/vpn/ikepolicies", "ikepolicy", ike_version="v2", **ALGORITHMS))["id"]
    here.ids["ipsec"] = (await here.made("/vpn/ipsecpolicies", "ipsecpolicy", **ALGORITHMS))["id"]
    service = await here.made("/vpn/vpnservices", "vpnservice", router_id=router["id"])
    here.ids["svc"] = service["id"]
    assert service["external_v4_ip"] == edge.host.outside
    await here.group("here", "subnet", [inside["id"]])
    await here.group("there", "cidr", [edge.peer.network])


@asynccontextmanager
async def followed(here: Neutron, agent: Agent) -> AsyncIterator[None]:
    """Have the agent hear of gateways as by a feed, and the controller of tunnels."""
    headers = await here.here.node("n1")

    async def send(tunnels: Any) -> None:
        body = tunnels.model_dump(mode="json")
        answer = await here.here.http.post("/v1/nodes/n1/tunnels", json=body, headers=headers)
        assert answer.status_code == 204, answer.text

    async def follow() -> None:
        seen: object = None
        while True:
            found = here.here.parts.tunnels.gateways.now()
            if found != seen:
                put = tuple(one.model_dump(mode="json") for one in found)
                agent.take(feed.Gateways(put=put, whole=True))
                seen = found
            await asyncio.sleep(0.02)

    telling = Telling(agent.doings, send)
    agent.changed = telling.changed
    running = [asyncio.create_task(work) for work in (telling.run(), follow())]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_a_connection_that_is_posted_carries_traffic_until_it_is_deleted(
    edge: Edge, tmp_path: Path
) -> None:
    async with neutron(tmp_path) as here, edge.agent() as agent:
        await site(here, edge)
        values = {"peer_address": edge.peer.outside, "peer_id": "b", "local_id": "a", "psk": "s"}
        made = await here.connected(**values)
        path = f"{CONNECTIONS}/{made['id']}"
        gateway = here.here.parts.tunnels.gateways.now()[0]
        name = f"vpn-{gateway.id}"

        async def status(path: str, wanted: str, seconds: float = 20) -> None:
            end = time.monotonic() + seconds * PATIENCE
            while (found := await shown(path))["status"] != wanted:
                assert time.monotonic() < end, found
                await asyncio.sleep(0.05)

        async def shown(path: str) -> dict[str, Any]:
            return next(iter((await here.ask("GET", path)).json().values()))

        async def changed(**values: object) -> None:
            answer = await here.ask("PUT", path, {"ipsec_site_connection": values})
            assert answer.status_code == 200, answer.text

        def lost() -> int:
            within = Site(edge.pid("namespaces", name), 1, edge.place)
            return ping(within, edge.host.inner, edge.peer.inner, 3)

        async with edge.answering(gateway.connections[0]), followed(here, agent):
            await status(path, "ACTIVE")
            await status(f"/vpn/vpnservices/{here.ids['svc']}", "ACTIVE")
            assert await asyncio.to_thread(lost) == 0
            before = spis(agent)
            await changed(name="berlin", description="what people say of it")
            await asyncio.sleep(0.3)
            assert spis(agent) == before
            await changed(admin_state_up=False)
            await status(path, "DOWN")
            assert await asyncio.to_thread(lost) == 3
            await changed(admin_state_up=True)
            await status(path, "ACTIVE")
            assert (await here.ask("DELETE", path)).status_code == 204
            await until(lambda: not spis(agent))
            assert await asyncio.to_thread(lost) == 3
            assert (await here.ask("DELETE", f"/vpn/vpnservices/{here.ids['svc']}")).status_code == 204
            await until(lambda: not (edge.run / "namespaces" / name).exists())
