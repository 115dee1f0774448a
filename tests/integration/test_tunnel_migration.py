"""Another driver for a gateway that is up: the kernel goes on with its keys until the other daemon has some."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeward.node.tunnels.agent import Agent
from edgeward.rootd.table import kernel
from edgeward.vpn.desired import Connection, Gateway
from edgeward.vpn.driver import Handover
from edgeward.vpn.drivers.strongswan import wording
from edgeward.vpn.drivers.strongswan.driver import opened
from edgeward.vpn.drivers.strongswan.vici import Vici
from tests import libreswan
from tests.integration.rootd_rig import IS_ROOT, Readable
from tests.integration.tunnel_rig import (
    ID,
    NAME,
    OPTIONS,
    Edge,
    connection,
    gateway,
    says,
    serving,
    spis,
    until,
)
from tests.integration.vpn_rig import has_charon, ping, pinging, wide_area, wire

pytestmark = [
    pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces"),
    pytest.mark.skipif(not has_charon(), reason="no charon-systemd here"),
]
HAS_ESP = IS_ROOT and kernel.has_esp()
needs_esp = pytest.mark.skipif(not HAS_ESP, reason="this kernel has no ESP; tests/uml has one")


class Both(Edge):
    """An edge that has Libreswan, too."""

    def serving(self) -> Any:
        more = ("--libreswan", str(libreswan.prefix()))
        return self.rootd.serving(*OPTIONS, *more, before=self.host.within())


@pytest.fixture
def edge(state_dir: Path, python: str, needs: Callable[[str], str]) -> Iterator[Both]:
    needs("certutil")
    with (
        wide_area(state_dir / "wan") as wan,
        serving(Both(wan, Readable(state_dir, python), state_dir)) as made,
    ):
        yield made


def phase_of(agent: Agent, one: Connection) -> str:
    doing = agent.doings().get(ID)
    found = None if doing is None else doing.states.get(one.id)
    return found.phase if found else ""


def of(edge: Edge, one: Connection, driver: str) -> Gateway:
    return gateway(edge, one).model_copy(update={"driver": driver})


@needs_esp
@pytest.mark.slow
async def test_a_gateway_goes_over_while_its_keys_carry_on_and_back_and_nothing_leaves_in_clear(
    edge: Both,
) -> None:
    one = connection(edge)
    async with edge.answering(one), edge.agent() as agent:
        agent.take(says(of(edge, one, "strongswan")))
        await until(lambda: phase_of(agent, one) == "active", 60)
        with wire(edge.wan.router, "site1", edge.host.network, edge.peer.network) as clear:
            for driver, socket in (("libreswan", "pluto.ctl"), ("strongswan", "charon.vici")):
                before = keys(edge)
                with pinging(edge.within, edge.host.inner, edge.peer.inner, 0.01) as pings:
                    cost = await taken_over(agent, edge, one, driver)
                print(f"to {driver}: {pings.lost} of {pings.sent} pings were lost; {cost}")
                assert (edge.run / "vpn" / NAME / socket).exists()
                assert cost.carried
                assert pings.lost <= 50, f"{pings.lost} of {pings.sent} lost; {cost}"  # that kernel is slow
                assert keys(edge).isdisjoint(before)
            assert await asyncio.to_thread(ping, edge.within, edge.host.inner, edge.peer.inner) == 0
        assert clear == []
        assert not edge.run.joinpath("vpn", NAME, "own").exists()


async def taken_over(agent: Agent, edge: Edge, one: Connection, driver: str) -> Handover:
    """Have the other driver take over; gives what it cost, once it is over."""
    before, began = spis(agent), time.time()
    agent.take(says(of(edge, one, driver)))

    def cost() -> Handover | None:
        state = agent.doings()[ID].states.get(one.id)
        new = state and state.phase == "active" and spis(agent).isdisjoint(before)
        found = state.handover if state and new and not agent.doings()[ID].reason else None
        return found if found and found.at >= began - 1 else None

    await until(cost, 90)
    await asyncio.sleep(0.5)
    found = cost()
    assert found is not None
    return found


def keys(edge: Edge) -> set[str]:
    """Give the SPIs of what its kernel has."""
    return set(re.findall(r"spi (0x[0-9a-f]+)", edge.within.ip("xfrm state list nokeys")))


@needs_esp
@pytest.mark.slow
async def test_what_does_not_come_up_by_the_other_driver_goes_back_to_the_former_one(edge: Both) -> None:
    one = connection(edge)
    async with edge.answering(one) as theirs, edge.agent() as agent:
        agent.take(says(of(edge, one, "strongswan")))
        await until(lambda: phase_of(agent, one) == "active", 60)
        before = keys(edge)
        vici = edge.peer.place / "charon.vici"
        async with Vici(vici).talk() as talk:  # what is up stays so
            await talk.request("unload-conn", {"name": wording.peers(theirs)})
        with pinging(edge.within, edge.host.inner, edge.peer.inner, 0.01) as pings:
            agent.take(says(of(edge, one, "libreswan")))
            await until(lambda: "libreswan cannot take over" in agent.doings()[ID].reason, 120)
            assert "all goes back to strongswan" in agent.doings()[ID].reason
            again = await opened(vici)
            await again.load(theirs, None, initiate=False)
            await until(lambda: phase_of(agent, one) == "active" and keys(edge).isdisjoint(before), 120)
            await again.close()
        print(f"there and back: {pings.lost} of {pings.sent} pings were lost")
        assert pings.lost <= 100, f"{pings.lost} of {pings.sent} were lost"
        assert (edge.run / "vpn" / NAME / "charon.vici").exists()
        # a key that the kernel is about to give up may need a second try, and is told of meanwhile
        await until(lambda: "libreswan cannot take over" in agent.doings()[ID].reason, 60)


@needs_esp
@pytest.mark.slow
async def test_whoever_goes_on_after_a_restart_in_between_goes_on_from_there(edge: Both) -> None:
    one, left = connection(edge), edge.run / "vpn" / NAME / "left"
    async with edge.answering(one):
        async with edge.agent() as agent:
            agent.take(says(of(edge, one, "strongswan")))
            await until(lambda: phase_of(agent, one) == "active", 60)
            before = keys(edge)
        with pinging(edge.within, edge.host.inner, edge.peer.inner, 0.01) as pings:
            async with edge.agent() as agent:
                agent.take(says(of(edge, one, "libreswan")))
                await until(left.exists, 60)
            await asyncio.sleep(0.5)
            async with edge.agent() as agent:
                await until(lambda: phase_of(agent, one) == "active" and not left.exists(), 120)
                await until(lambda: keys(edge) and keys(edge).isdisjoint(before), 60)
        print(f"with a restart in between: {pings.lost} of {pings.sent} pings were lost")
        assert pings.lost <= 50, f"{pings.lost} of {pings.sent} were lost"
        assert (edge.run / "vpn" / NAME / "pluto.ctl").exists()


@pytest.mark.skipif(HAS_ESP, reason="this kernel has ESP")
async def test_a_daemon_that_carries_nothing_is_followed_by_one_that_does(edge: Both) -> None:
    one = connection(edge)
    async with edge.answering(one), edge.agent() as agent:
        agent.take(says(of(edge, one, "libreswan")))
        await until(lambda: phase_of(agent, one) == "error", 60)
        agent.take(says(of(edge, one, "strongswan")))
        await until(lambda: phase_of(agent, one) == "active", 60)
        await until(lambda: agent.doings()[ID].states[one.id].handover, 60)
        cost = agent.doings()[ID].states[one.id].handover
        assert cost is not None and not cost.carried
        assert not edge.run.joinpath("vpn", NAME, "own").exists()
        assert not edge.run.joinpath("vpn", NAME, "left").exists()
        assert await asyncio.to_thread(ping, edge.within, edge.host.inner, edge.peer.inner) == 0


@pytest.mark.skipif(HAS_ESP, reason="this kernel has ESP")
async def test_libreswan_does_not_take_over_where_the_kernel_has_no_esp(edge: Both) -> None:
    one = connection(edge)
    async with edge.answering(one), edge.agent() as agent:
        agent.take(says(of(edge, one, "strongswan")))
        await until(lambda: phase_of(agent, one) == "active", 60)
        before = spis(agent)

        agent.take(says(of(edge, one, "libreswan")))
        await until(lambda: "this kernel has no ESP" in agent.doings()[ID].reason, 60)

        assert "libreswan cannot take over, all stays as it is" in agent.doings()[ID].reason
        assert await asyncio.to_thread(ping, edge.within, edge.host.inner, edge.peer.inner) == 0
        assert spis(agent) == before
        agent.take(says(of(edge, one, "strongswan")))
        await until(lambda: not agent.doings()[ID].reason, 60)


async def test_a_driver_that_is_not_there_ends_nothing(state_dir: Path, python: str) -> None:
    with wide_area(state_dir / "wan") as wan:
        edge = Edge(wan, Readable(state_dir, python), state_dir)
        one = connection(edge)
        nowhere = ("--libreswan", "/usr/lib")
        with edge.rootd.serving(*OPTIONS, *nowhere, before=edge.host.within()):
            async with edge.answering(one), edge.agent() as agent:
                agent.take(says(of(edge, one, "strongswan")))
                await until(lambda: phase_of(agent, one) == "active", 60)
                before = agent.doings()[ID].states[one.id].children

                agent.take(says(of(edge, one, "libreswan")))
                await until(lambda: "libreswan cannot take over" in agent.doings()[ID].reason, 60)
                assert await asyncio.to_thread(ping, edge.within, edge.host.inner, edge.peer.inner) == 0
                after = agent.doings()[ID].states[one.id].children
                assert [each.spi_in for each in after] == [each.spi_in for each in before]
                # it is tried again and again, and gone in between
                await until(lambda: not edge.run.joinpath("namespaces", f"{NAME}-next").exists(), 60)
            for name in (NAME, f"{NAME}-next"):
                edge.rootd.ask("remove-namespace", namespace=name)
