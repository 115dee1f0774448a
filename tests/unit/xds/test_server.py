from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest

from edgeward.xds import messages as m
from edgeward.xds.events import Ask, Event
from edgeward.xds.resource import Resource, version_of
from edgeward.xds.server import Connection, XdsServer
from edgeward.xds.snapshot import snapshot
from tests.unit.xds.ads_client import METHOD, connected
from tests.unit.xds.model_envoy import Envoy
from tests.unit.xds.test_delta import FULL, held, state


class Program:
    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.known = True
        self.settlements = 0
        self.later: list[str] = []

    def opened(self, connection: Connection) -> None:
        self.connections.append(connection)
        if self.known:
            connection.delta.offer(state(1, FULL))

    def told(self, connection: Connection, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Ask) and event.name.startswith("later"):
                self.later.append(event.name)
            elif isinstance(event, Ask):
                connection.delta.answer(event.name, secret(event.name))

    def settled(self, connection: Connection) -> None:
        self.settlements += 1

    def closed(self, connection: Connection) -> None:
        self.connections.remove(connection)


def secret(name: str) -> Resource:
    return Resource(m.SECRET, name, b"1", version_of(b"1"))


@pytest.fixture
async def program(state_dir: Path) -> AsyncIterator[Program]:
    made = Program()
    server = XdsServer(state_dir / "xds.sock", made)
    await server.open()
    yield made
    await server.close()


async def test_an_envoy_gets_everything_and_its_names_over_the_socket(
    program: Program, state_dir: Path
) -> None:
    envoy = Envoy()
    async with connected(state_dir / "xds.sock", envoy) as client:
        await client.settle()
        assert held(envoy) == {kind: dict(bodies) for kind, bodies in FULL.items()}
        assert program.settlements == 1

        envoy.shake_hands("a.example")
        await client.settle()
        assert envoy.hanging == set()

        envoy.shake_hands("later.example")
        await client.settle()
        assert envoy.hanging == {"later.example"}
        connection = program.connections[0]
        connection.delta.answer("later.example", secret("later.example"))
        connection.delta.offer(snapshot(2, []))
        connection.flush()
        await client.settle()
        assert envoy.hanging == set()
        assert program.settlements == 2


async def test_a_new_connection_of_the_same_envoy_is_sent_nothing(program: Program, state_dir: Path) -> None:
    envoy = Envoy()
    async with connected(state_dir / "xds.sock", envoy) as client:
        await client.settle()
    before = envoy.responses
    async with connected(state_dir / "xds.sock", envoy) as client:
        await client.settle()
        assert program.settlements == 2
    await asyncio.sleep(0.1)

    assert envoy.responses == before
    assert program.connections == []


async def test_an_envoy_that_has_what_is_learned_only_later_has_settled_then(
    program: Program, state_dir: Path
) -> None:
    envoy = Envoy()
    async with connected(state_dir / "xds.sock", envoy) as client:
        await client.settle()
    program.known = False
    async with connected(state_dir / "xds.sock", envoy) as client:
        await client.settle()
        assert program.settlements == 1, "nothing is known that it could have taken in"

        program.connections[-1].delta.offer(state(1, FULL))
        program.connections[-1].flush()
        await client.settle()

        assert program.settlements == 2


async def test_the_socket_is_for_its_owner_alone(program: Program, state_dir: Path) -> None:
    assert stat.S_IMODE((state_dir / "xds.sock").stat().st_mode) == 0o600


async def test_bytes_that_are_no_message_end_their_own_stream_only(program: Program, state_dir: Path) -> None:
    envoy = Envoy()
    async with connected(state_dir / "xds.sock", envoy) as client:
        async with grpc.aio.insecure_channel(f"unix:{state_dir / 'xds.sock'}") as channel:
            call = channel.stream_stream(METHOD)()
            await call.write(b"\x1a\xff")
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        await client.settle()
        assert held(envoy) == {kind: dict(bodies) for kind, bodies in FULL.items()}


async def test_an_envoy_may_ask_for_ever_whether_we_live(program: Program, state_dir: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(state_dir / "xds.sock"))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
    seen: list[int] = []
    async with asyncio.timeout(30):
        for answers in range(1, 21):
            writer.write(frame(PING, bytes(8)))
            while seen.count(PING) < answers and GOAWAY not in seen:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3]))
                seen.append(head[3])
    writer.close()

    assert GOAWAY not in seen


SETTINGS, PING, GOAWAY = 4, 6, 7  # RFC 9113, section 6


def frame(kind: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame of the connection as a whole (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind]) + bytes(5) + payload


async def test_streams_are_bounded(program: Program, state_dir: Path) -> None:
    async with grpc.aio.insecure_channel(f"unix:{state_dir / 'xds.sock'}") as channel:
        calls = [channel.stream_stream(METHOD)() for _ in range(8)]
        for call in calls:
            await call.write(m.DeltaDiscoveryRequest(type_url=m.CLUSTER).SerializeToString())
            await call.read()
        ninth = channel.stream_stream(METHOD)()
        assert await ninth.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in calls:
            call.cancel()
