"""The node's agent of tunnels beside a real rootd and charon: what comes up, and what nothing disturbs."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from edgeward.declaration import feed
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
    assert edge.host.run("ip", "-o", "link").count(" ew") == 0


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
