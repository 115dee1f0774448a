"""Another driver for a gateway that is up: the agent has the other daemon take over, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeward.node.tunnels.agent import Agent
from edgeward.vpn.desired import Connection, Gateway
from tests import libreswan
from tests.integration.rootd_rig import IS_ROOT, Readable
from tests.integration.tunnel_rig import ID, NAME, OPTIONS, Edge, connection, gateway, says, serving, until
from tests.integration.vpn_rig import has_charon, ping, wide_area, wire

pytestmark = [
    pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces"),
    pytest.mark.skipif(not has_charon(), reason="no charon-systemd here"),
]


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


async def test_a_gateway_goes_over_to_the_other_driver_and_back_and_nothing_leaves_in_clear(
    edge: Both,
) -> None:
    one = connection(edge)
    async with edge.answering(one), edge.agent() as agent:

        def phase() -> str:
            return phase_of(agent, one)

        agent.take(says(of(edge, one, "strongswan")))
        await until(lambda: phase() == "active")
        with wire(edge.wan.router, "site1", edge.host.network, edge.peer.network) as clear:
            agent.take(says(of(edge, one, "libreswan")))
            # where this kernel has no ESP, Libreswan says so once the peers believe each other
            await until(
                lambda: (
                    phase() in ("active", "error") and edge.run.joinpath("vpn", NAME, "pluto.ctl").exists()
                )
            )
            assert not edge.run.joinpath("vpn", NAME, "charon.vici").exists()
            log = edge.run.joinpath("vpn", NAME, "own", "pluto.log")
            await until(lambda: "established IKE SA" in log.read_text())

            agent.take(says(of(edge, one, "strongswan")))
            await until(lambda: phase() == "active")
            assert ping(edge.within, edge.host.inner, edge.peer.inner) == 0
        assert clear == []
        assert not edge.run.joinpath("vpn", NAME, "own").exists()


async def test_a_driver_that_is_not_there_ends_nothing(state_dir: Path, python: str) -> None:
    with wide_area(state_dir / "wan") as wan:
        edge = Edge(wan, Readable(state_dir, python), state_dir)
        one = connection(edge)
        nowhere = ("--libreswan", "/usr/lib")
        with edge.rootd.serving(*OPTIONS, *nowhere, before=edge.host.within()):
            async with edge.answering(one), edge.agent() as agent:
                agent.take(says(of(edge, one, "strongswan")))
                await until(lambda: phase_of(agent, one) == "active")
                before = agent.doings()[ID].states[one.id].children

                agent.take(says(of(edge, one, "libreswan")))
                await until(lambda: "libreswan cannot take over" in agent.doings()[ID].reason)
                assert await asyncio.to_thread(ping, edge.within, edge.host.inner, edge.peer.inner) == 0
                after = agent.doings()[ID].states[one.id].children
                assert [each.spi_in for each in after] == [each.spi_in for each in before]
                assert not edge.run.joinpath("namespaces", f"{NAME}-next").exists()
            edge.rootd.ask("remove-namespace", namespace=NAME)
