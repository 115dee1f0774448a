"""A node with many gateways: how soon a tunnel carries, what a hundred daemons cost, and what idling does.

The node's agent, rootd and charon are real; who tells the agent stands for the controller.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.table import Goal, Row
from edgeward.declaration import feed
from edgeward.node.tunnels.agent import Agent
from edgeward.vpn.desired import Connection, Gateway, Ike, Inside, Ipsec, Outside, Psk
from edgeward.vpn.driver import Driver
from edgeward.vpn.drivers.strongswan.driver import opened
from tests.integration.rootd_rig import Readable, readable_python
from tests.integration.tunnel_rig import Edge, serving
from tests.integration.vpn_drivers import GCM, mirrored
from tests.integration.vpn_rig import has_charon, wide_area

OURS = "Edgeward"
_IDLE_SECONDS = 10.0
_MANY = 1000


def measure(directory: Path, rounds: int) -> list[Row]:
    """Measure with a hundred gateways; with one round, with thirty."""
    if not has_charon() or os.geteuid() != 0:
        return [Row("a gateway's first tunnel up after", OURS, "not installed")]
    directory.mkdir(parents=True)
    directory.parent.chmod(0o755)  # charon is somebody else
    with _edge(directory) as edge:
        return asyncio.run(_measured(edge, 100 if rounds > 1 else 30))


@contextmanager
def _edge(directory: Path) -> Iterator[Edge]:
    with (
        wide_area(directory / "wan") as wan,
        readable_python(lambda name: shutil.which(name) or name) as python,
        serving(Edge(wan, Readable(directory, python), directory)) as edge,
    ):
        yield edge


async def _measured(edge: Edge, count: int) -> list[Row]:
    with edge.peer.charon() as charon:
        peer = await opened(charon.socket)
        async with edge.agent() as agent:
            rows = [*await _one_by_one(edge, agent, peer), await _a_thousand(edge, agent)]
            rows += await _many(edge, agent, peer, count)
        await peer.close()
    return rows


async def _one_by_one(edge: Edge, agent: Agent, peer: Driver) -> list[Row]:
    cold, warm = [], []
    for each in range(1, 11):
        edge.peer.ip(f"addr add 10.60.{each}.1/32 dev lo")  # kernel-libipsec wants one of each network
    for number in range(3):
        connections = [_connection(edge, number, each) for each in range(11)]
        for one in connections:
            await peer.load(mirrored(one), None, initiate=False)
        cold.append(await _until_up(agent, _gateway(edge, number, connections[:1]), 1))
        for more in range(2, 12):
            warm.append(await _until_up(agent, _gateway(edge, number, connections[:more]), more))
    note = "of {}, at most {:.0f} ms; from the message to INSTALLED"
    return [
        _row("a gateway's first tunnel, with namespace and daemon, up after", cold, 1000, note),
        _row("one more tunnel of a gateway, up after", warm, 150, note),
    ]


def _row(what: str, took: Sequence[float], most: float, note: str) -> Row:
    middle = 1000 * statistics.median(took)
    return Row(what, OURS, middle, "ms", note.format(len(took), 1000 * max(took)), (Goal(middle, most),))


async def _until_up(agent: Agent, gateway: Gateway, wanted: int) -> float:
    began = time.monotonic()
    agent.take(feed.Gateways(put=(gateway.model_dump(mode="json"),)))
    while _up(agent, gateway.id) < wanted:
        if time.monotonic() > began + 60:
            raise RuntimeError(f"it does not come up: {agent.doings().get(gateway.id)}"[-900:])
        await asyncio.sleep(0.002)
    return time.monotonic() - began


def _up(agent: Agent, gateway: str) -> int:
    doing = agent.doings().get(gateway)
    return 0 if doing is None else sum(state.phase == "active" for state in doing.states.values())


async def _a_thousand(edge: Edge, agent: Agent) -> Row:
    """Tunnels that only answer, so that nothing but their declaration is measured."""
    connections = [
        _connection(edge, 0, each).model_copy(update={"initiator": False}) for each in range(_MANY)
    ]
    gateway = _gateway(edge, 0, connections)
    began = time.monotonic()
    agent.take(feed.Gateways(put=(gateway.model_dump(mode="json"),)))
    async with asyncio.timeout(120):
        while len(agent.doings()[gateway.id].states) < _MANY:
            await asyncio.sleep(0.01)
    took = time.monotonic() - began
    return Row(f"{_MANY:,} tunnels of one gateway, loaded after", OURS, took, "s", "", (Goal(took, 5.0),))


async def _many(edge: Edge, agent: Agent, peer: Driver, count: int) -> list[Row]:
    gateways = [_gateway(edge, number, [_connection(edge, number, 0)]) for number in range(count)]
    for gateway in gateways:
        await peer.load(mirrored(gateway.connections[0]), None, initiate=False)
    began = time.monotonic()
    agent.take(feed.Gateways(put=tuple(one.model_dump(mode="json") for one in gateways), whole=True))
    async with asyncio.timeout(180):
        while sum(_up(agent, gateway.id) > 0 for gateway in gateways) < count:
            await asyncio.sleep(0.05)
    took = time.monotonic() - began
    await asyncio.sleep(5)
    cpu = time.process_time()
    await asyncio.sleep(_IDLE_SECONDS)
    idle = 100 * (time.process_time() - cpu) / _IDLE_SECONDS
    memory = sum(_pss_mb(pid) for pid in _pids(edge))
    whole = 15 * count  # 1.5 GB for a hundred
    return [
        Row(f"{count} gateways with a daemon each, all tunnels up after", OURS, took, "s"),
        Row("… their memory (PSS of daemons and namespaces)", OURS, memory, "MB", "", (Goal(memory, whole),)),
        Row(
            "… the agent's CPU, idle",
            OURS,
            idle,
            "%",
            f"of one core, {_IDLE_SECONDS:.0f} s",
            (Goal(idle, 2),),
        ),
    ]


def _pids(edge: Edge) -> list[int]:
    records = [*edge.run.glob("vpn/*/daemon"), *edge.run.glob("namespaces/vpn-*")]
    return [int(path.read_text().split()[0]) for path in records]


def _pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _gateway(edge: Edge, number: int, connections: Sequence[Connection]) -> Gateway:
    outside = Outside(
        addresses=(f"{_outside(number)}/24",), next_hops=(edge.host.router,), bridge="br-ex"
    )  # fmt: skip
    inside = tuple(
        Inside(network=network, address=network.replace(".0/24", ".1"))
        for network in dict.fromkeys(one.local_networks[0] for one in connections[:20])
    )
    name = f"default/gateway-{number}"
    return Gateway(
        id=f"{number:012x}", name=name, outside=outside, inside=inside, connections=tuple(connections)
    )


def _outside(number: int) -> str:
    return f"198.51.1.{100 + number}"


def _connection(edge: Edge, number: int, each: int) -> Connection:
    return Connection(
        id=f"{number:08x}-0000-4000-8000-{each:012x}",
        name=f"default/site-{number}-{each}",
        local_address=_outside(number),
        peer_address=edge.peer.outside,
        local_id=f"a-{number}-{each}",
        peer_id=f"b-{number}-{each}",
        local_networks=("10.1.0.0/24",) if each == 0 else (f"10.{30 + each // 250}.{each % 250}.0/24",),
        peer_networks=("10.2.0.0/24",) if each == 0 else (f"10.{60 + each // 250}.{each % 250}.0/24",),
        ike=Ike(proposals=(GCM,)),
        ipsec=Ipsec(proposals=(GCM,)),
        auth=Psk(secret="a secret of both"),
    )
