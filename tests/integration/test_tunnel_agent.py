"""The node's agent of tunnels beside a real rootd and charon: what comes up, and what nothing disturbs."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from edgeward.declaration import feed
from edgeward.vpn.desired import Inside, Outside
from tests.integration import tunnel_rig
from tests.integration.tunnel_rig import ID, NAME, Edge, connection, gateway, says, spis, until
from tests.integration.vpn_rig import ping, pinging, wire

pytestmark, edge = tunnel_rig.MARKS, tunnel_rig.edge


def pings(edge: Edge, count: int = 3) -> int:
    """Give how many of some pings through the tunnel are lost."""
    return ping(edge.within, edge.host.inner, edge.peer.inner, count)


async def test_a_tunnel_comes_up_and_no_restart_of_agent_or_rootd_disturbs_it(edge: Edge) -> None:
    one = connection(edge)
    async with edge.answering(one):
        async with edge.agent() as agent:
            agent.take(says(gateway(edge, one)))
            await until(lambda: spis(agent))
            before = spis(agent)
            assert await asyncio.to_thread(pings, edge) == 0
        daemon, keeper = edge.pid("vpn", NAME, "daemon"), edge.pid("namespaces", NAME)

        with pinging(edge.within, edge.host.inner, edge.peer.inner) as seen:
            async with edge.agent() as agent:  # nobody says anything: what it knows is on disk
                await until(lambda: spis(agent))
                process = edge.rootd.process
                assert process is not None
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                with edge.serving():
                    agent.take(says(gateway(edge, one)))
                    await until(lambda: agent.doings()[ID].phase == "running")
                    await asyncio.sleep(0.3)
                    assert spis(agent) == before
        assert (edge.pid("vpn", NAME, "daemon"), edge.pid("namespaces", NAME)) == (daemon, keeper)
        assert (seen.lost, seen.sent > 10) == (0, True)


async def test_nothing_leaves_in_clear_whatever_dies_and_what_died_is_back(edge: Edge) -> None:
    one = connection(edge)
    networks = edge.host.network, edge.peer.network
    async with edge.answering(one), edge.agent() as agent:
        agent.take(says(gateway(edge, one)))
        await until(lambda: spis(agent))
        with wire(edge.host, "wan0", *networks) as seen:
            for victim in (("vpn", NAME, "daemon"), ("namespaces", NAME)):
                before, pid = spis(agent), edge.pid(*victim)
                with pinging(edge.within, edge.host.inner, edge.peer.inner):
                    os.kill(pid, signal.SIGKILL)
                    await until(lambda before=before: spis(agent) - before)
                assert edge.pid(*victim) != pid
                assert await asyncio.to_thread(pings, edge) == 0
            await asyncio.to_thread(pings, edge)
            one_without = gateway(edge)
            agent.take(says(one_without))
            await until(lambda: not agent.doings()[ID].states)
            assert await asyncio.to_thread(pings, edge) > 0
        assert seen == []


async def test_a_removed_gateway_leaves_nothing_behind(edge: Edge) -> None:
    one = connection(edge, enabled=False)
    async with edge.agent() as agent:
        agent.take(says(gateway(edge, one)))
        await until(lambda: agent.doings()[ID].phase == "running")
        assert edge.host.run("ip", "-o", "link").count("ew") > 0
        agent.take(feed.Gateways(whole=True))
        await until(lambda: not (edge.run / "namespaces" / NAME).exists())
    # the kernel takes a namespace's links away some time after its last process
    await until(lambda: edge.host.run("ip", "-o", "link").count(" ew") == 0)


@pytest.mark.slow
async def test_a_daemon_that_hangs_is_told_of_is_not_ended_and_goes_on(edge: Edge) -> None:
    one = connection(edge)
    async with edge.answering(one), edge.agent() as agent:
        agent.take(says(gateway(edge, one)))
        await until(lambda: spis(agent))
        before, pid = spis(agent), edge.pid("vpn", NAME, "daemon")

        os.kill(pid, signal.SIGSTOP)
        try:
            await until(lambda: agent.doings()[ID].phase == "down", 60)
        finally:
            os.kill(pid, signal.SIGCONT)

        assert "charon does not answer" in agent.doings()[ID].reason
        await until(lambda: agent.doings()[ID].phase == "running" and spis(agent) == before, 60)
        assert edge.pid("vpn", NAME, "daemon") == pid
        assert await asyncio.to_thread(pings, edge) == 0


@pytest.mark.slow
async def test_over_ipv6_a_tunnel_carries_ipv6_and_neighbours_hear_whose_the_address_is(edge: Edge) -> None:
    here, there = edge.host, edge.peer
    one = connection(
        edge, local_address=here.outside6, peer_address=there.outside6,
        local_networks=(here.network6,), peer_networks=(there.network6,),
    )  # fmt: skip
    outside = Outside(addresses=(f"{here.outside6}/64",), next_hops=("2001:db8:1::1",), bridge="br-ex")
    inside = (Inside(network=here.network6, address=here.inner6),)
    wanted = gateway(edge, one).model_copy(update={"outside": outside, "inside": inside})
    async with edge.answering(one), edge.agent() as agent:
        with wire(here, "wan0", here.network6, there.network6) as seen:
            agent.take(says(wanted))
            await until(lambda: spis(agent), 30)
            assert await asyncio.to_thread(ping, edge.within, here.inner6, there.inner6) == 0
            before = spis(agent)
            os.kill(edge.pid("vpn", NAME, "daemon"), signal.SIGKILL)
            await asyncio.to_thread(ping, edge.within, here.inner6, there.inner6)
            await until(lambda: spis(agent) - before, 30)
            assert await asyncio.to_thread(ping, edge.within, here.inner6, there.inner6) == 0
        assert seen == []

        router = edge.wan.router
        router.run(
            "sh", "-c", "echo 600 > /proc/sys/net/ipv6/neigh/site1/delay_first_probe_time"
        )  # it asks nobody
        another = f"{here.outside6} dev site1 lladdr 02:00:00:00:00:99"
        router.ip(f"-6 neigh replace {another} nud stale")
        assert edge.rootd.ask("announce", namespace=NAME)["outcome"] == "done"
        own = json.loads(edge.within.ip("-j link show outside"))[0]["address"]
        await until(lambda: own in router.ip(f"-6 neigh show {here.outside6} dev site1"), 30)
