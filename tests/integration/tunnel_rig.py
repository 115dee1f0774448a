"""A host with the node's agent of tunnels, a real rootd and charon, and a peer beyond a router."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from edgeward.declaration import feed
from edgeward.errors import Unavailable
from edgeward.node.actions import Acting
from edgeward.node.backends.resolver import Resolver
from edgeward.node.tunnels.agent import Agent
from edgeward.node.tunnels.daemons import Rootd as Daemons
from edgeward.node.tunnels.holding import Holding
from edgeward.node.tunnels.kept import Kept
from edgeward.node.tunnels.peers import Peers
from edgeward.node.tunnels.root import Root
from edgeward.node.tunnels.steering import Steering
from edgeward.sealing import Seal, new_key
from edgeward.secret import Secret
from edgeward.vpn.desired import Connection, Gateway, Ike, Inside, Ipsec, Outside, Proposal, Psk
from edgeward.vpn.drivers.strongswan.driver import opened
from tests.integration.rootd_rig import IS_ROOT, Readable, Rootd
from tests.integration.vpn_rig import Site, Wan, has_charon, wide_area
from tests.patience import PATIENCE

MARKS = [
    pytest.mark.skipif(not IS_ROOT, reason="only root makes network namespaces"),
    pytest.mark.skipif(not has_charon(), reason="no charon-systemd here"),
]
OPTIONS = ("--user", "0", "--vpn-user", "games", "--relay-user", "games")
ID, NAME = "0123456789ab", "vpn-0123456789ab"
PROPOSALS = (Proposal(encryption="aes-128-gcm-16", integrity="sha256", groups=("group19",)),)


EdgeT = TypeVar("EdgeT", bound="Edge")


class Edge:
    """A host with a bridge to the world, its rootd, and a peer beyond the router."""

    def __init__(self, wan: Wan, rootd: Rootd, place: Path) -> None:
        self.wan, self.rootd, self.place = wan, rootd, place
        self.host, self.peer = wan.site(1), wan.site(2)
        self.run = Path(rootd.socket).parent
        self.key = new_key()
        for words in (
            "addr flush dev wan0", "link add br-ex type bridge", "link set wan0 master br-ex",
            "link set br-ex up", "addr del 10.1.0.1/32 dev lo",
        ):  # fmt: skip
            self.host.ip(words)
        (rootd.actions.parent / "network.toml").write_text('bridges = ["br-ex"]\n')

    def serving(self) -> Any:
        return self.rootd.serving(*OPTIONS, before=self.host.within())

    def pid(self, *record: str) -> int:
        return int(self.run.joinpath(*record).read_text().split()[0])

    @property
    def within(self) -> Site:
        return Site(self.pid("namespaces", NAME), 1, self.place)

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        root = Root(Acting(self.rootd.socket, lambda: None).asked)

        async def nobody(*_: object) -> Any:
            raise Unavailable("nobody can tell")

        kept = Kept(self.place / "node" / "tunnels.db", Seal(self.key))
        holding, peers = Holding(nobody, self.place / "active.json"), Peers(Resolver())
        made = Agent(kept, root, Daemons(root, self.run), holding, peers)
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    def steered(self, agent: Agent) -> Callable[[str, feed.Steer, float], Awaitable[feed.Answer]]:
        """Give what stands for the way to the node: it has this agent do what is asked, and answers."""
        steering = Steering(agent.driver, self.run)

        async def ask(_node: str, steer: feed.Steer, _patience: float) -> feed.Answer:
            answers: list[feed.Answer] = []

            async def send(answer: feed.Answer) -> None:
                answers.append(answer)

            await steering.answer(steer, send)
            return answers[0]

        return ask

    @asynccontextmanager
    async def answering(self, connection: Connection) -> AsyncIterator[Connection]:
        """Have the peer answer a connection; gives it as it is there."""
        six = ":" in connection.peer_address
        here, there = (one.outside6 if six else one.outside for one in (self.host, self.peer))
        theirs = connection.model_copy(
            update={
                "local_address": there, "peer_address": here, "local_id": "b",
                "peer_id": "a", "local_networks": connection.peer_networks,
                "peer_networks": connection.local_networks,
            }
        )  # fmt: skip
        with self.peer.charon() as charon:
            driver = await opened(charon.socket)
            await driver.load(theirs, None, initiate=False)
            try:
                yield theirs
            finally:
                await driver.close()


def connection(edge: Edge, **changes: Any) -> Connection:
    given: dict[str, Any] = {
        "id": "00000000-0000-4000-8000-000000000001", "name": "default/berlin",
        "local_address": edge.host.outside, "peer_address": edge.peer.outside, "local_id": "a", "peer_id": "b",
        "local_networks": (edge.host.network,), "peer_networks": (edge.peer.network,),
        "ike": Ike(proposals=PROPOSALS), "ipsec": Ipsec(proposals=PROPOSALS), "auth": Psk(secret=Secret("s")),
    }  # fmt: skip
    return Connection(**given | changes)


def gateway(edge: Edge, *connections: Connection) -> Gateway:
    outside = Outside(addresses=(f"{edge.host.outside}/24",), next_hops=(edge.host.router,), bridge="br-ex")
    inside = (Inside(network=edge.host.network, address=edge.host.inner),)
    return Gateway(id=ID, name="default/berlin", outside=outside, inside=inside, connections=connections)


@contextmanager
def serving(made: EdgeT) -> Iterator[EdgeT]:
    """Have its rootd serve; at the end another one takes the namespaces of tunnels away."""
    try:
        with made.serving():
            yield made
    finally:
        made.rootd.process = None
        with made.serving():
            for name in {NAME, *(path.name for path in (made.run / "namespaces").glob("vpn-*"))}:
                made.rootd.ask("remove-namespace", namespace=name)


@pytest.fixture
def edge(state_dir: Path, python: str) -> Iterator[Edge]:
    with (
        wide_area(state_dir / "wan") as wan,
        serving(Edge(wan, Readable(state_dir, python), state_dir)) as made,
    ):
        yield made


def says(one: Gateway) -> feed.Gateways:
    return feed.Gateways(put=(one.model_dump(mode="json"),), whole=True)


async def until(true: Callable[[], object], seconds: float = 15) -> None:
    end = time.monotonic() + seconds * PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.02)


def spis(agent: Agent) -> set[str]:
    states = [state for one in agent.doings().values() for state in one.states.values()]
    return {child.spi_in for state in states if state.phase == "active" for child in state.children}
