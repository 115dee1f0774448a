from __future__ import annotations

import fcntl
import random
import select
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from edgeward.relay.flow import Flow
from edgeward.relay.pipes import Pipes
from edgeward.relay.sockets import Socket
from tests.patience import PATIENCE

Pair = tuple[Socket, socket.socket]
_MUCH = 60_000
_IP_RECVERR, _TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 11, 19, 20, 21  # linux/in.h, linux/tcp.h


def _pair() -> Pair:
    """Two connected TCP sockets: the relay's, and the other side's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    far.settimeout(30)
    return Socket(near.family, near.type | socket.SOCK_NONBLOCK, near.proto, near.detach()), far


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    client, backend = _pair(), _pair()
    yield client, backend
    for stream in (*client, *backend):
        stream.close()


def _reset(stream: socket.socket) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()
    time.sleep(0.05)


def test_few_bytes_take_no_pipe_and_many_borrow_one_only_while_they_move(pairs: tuple[Pair, Pair]) -> None:
    (client, visitor), (backend, server) = pairs
    pipes = Pipes(4)
    flow = Flow(client, backend, pipes)
    visitor.sendall(b"few")
    flow.readable = True
    flow.carry()
    assert server.recv(100) == b"few"
    assert pipes.open == 0

    sent = received = 0
    visitor.setblocking(False)
    while sent < 3_000_000:
        try:
            sent += visitor.send(b"m" * 100_000)
        except BlockingIOError:
            flow.readable = flow.writable = True
            flow.carry()
            received += len(server.recv(1 << 20))
    while received < sent:
        flow.readable = flow.writable = True
        flow.carry()
        received += len(server.recv(1 << 20))
    flow.carry()

    assert received == sent == flow.moved - 3
    assert pipes.open == 1
    assert pipes.take() is not None  # given back
    assert pipes.open == 1


def test_without_a_pipe_left_bytes_move_all_the_same(pairs: tuple[Pair, Pair]) -> None:
    (client, visitor), (backend, server) = pairs
    flow = Flow(client, backend, Pipes(0))
    for _ in range(5):
        visitor.sendall(b"x" * 60_000)
        flow.readable = True
        flow.carry()
        got = b""
        while len(got) < 60_000:
            got += server.recv(60_000)


def test_what_a_full_sink_takes_in_parts_arrives_once_and_in_order(pairs: tuple[Pair, Pair]) -> None:
    (client, visitor), (backend, server) = pairs
    backend.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    flow, data = Flow(client, backend, Pipes(0)), random.Random(6).randbytes(4_000_000)
    visitor.setblocking(False)
    server.setblocking(False)
    sent, got, parts = 0, bytearray(), 0
    while len(got) < len(data):
        with suppress(BlockingIOError):
            sent += visitor.send(data[sent : sent + 100_000])
        flow.readable = flow.writable = True
        flow.carry()
        parts += not flow.writable
        with suppress(BlockingIOError):
            got += server.recv(20_000)

    assert parts > 10
    assert bytes(got) == data


def test_an_end_after_a_reset_that_sending_heard_of_is_no_proper_end(pairs: tuple[Pair, Pair]) -> None:
    (client, visitor), (backend, server) = pairs
    pipes = Pipes(4)
    up, down = Flow(client, backend, pipes), Flow(backend, client, pipes)
    visitor.sendall(b"question")
    _reset(server)
    up.readable = True
    up.carry()  # the kernel tells of the reset here, and not again
    assert up.refused
    assert up.reset

    down.doubtful = up.reset
    down.readable = True
    down.carry()
    assert down.ended
    assert down.broken


def _unreachable(stream: Socket) -> None:
    """Have the kernel hear by ICMP that the peer is unreachable, and make it this socket's error."""
    (here, port), (there, far_port) = stream.getsockname(), stream.getpeername()
    stream.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    try:
        stream.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        stream.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, 2)
        (sequence,) = struct.unpack("I", stream.getsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, 4))
        stream.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 0)
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except PermissionError:
        pytest.skip("needs CAP_NET_ADMIN and CAP_NET_RAW")
    addresses = socket.inet_aton(here) + socket.inet_aton(there)
    about = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    about += struct.pack("!HHI", port, far_port, sequence)
    with raw:
        raw.sendto(struct.pack("!BBHI", 3, 1, _checksum(b"\x03\x01" + about), 0) + about, (here, 0))
    heard = select.poll()
    heard.register(stream.fileno(), 0)
    assert heard.poll(10_000 * PATIENCE)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def _moving_much(pairs: tuple[Pair, Pair]) -> Flow:
    (client, visitor), (backend, server) = pairs
    flow = Flow(client, backend, Pipes(4))
    _sent(visitor, client)
    got = 0
    while got < _MUCH:
        flow.readable = flow.writable = True
        flow.carry()
        got += len(server.recv(_MUCH))
    return flow


def _sent(visitor: socket.socket, client: Socket) -> None:
    """Send much, and see that it has arrived."""
    visitor.sendall(b"x" * _MUCH)
    _until(
        lambda: int.from_bytes(fcntl.ioctl(client.fileno(), termios.FIONREAD, b"\0" * 4), "little") == _MUCH
    )


def _until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + 10 * PATIENCE
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_source_that_is_lost_while_much_moves_is_no_proper_end(pairs: tuple[Pair, Pair]) -> None:
    flow = _moving_much(pairs)
    _unreachable(pairs[0][0])
    flow.readable = True
    flow.carry()

    assert flow.ended and flow.broken


def test_a_sink_that_is_lost_while_much_moves_is_no_proper_end(pairs: tuple[Pair, Pair]) -> None:
    flow = _moving_much(pairs)
    _sent(pairs[0][1], pairs[0][0])
    _unreachable(pairs[1][0])
    flow.readable = flow.writable = True
    flow.carry()

    assert flow.refused and flow.reset


def test_a_proper_end_is_one(pairs: tuple[Pair, Pair]) -> None:
    (client, visitor), (backend, _server) = pairs
    flow = Flow(client, backend, Pipes(4))
    visitor.sendall(b"all")
    visitor.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    flow.readable = flow.thorough = True
    flow.carry()

    assert flow.finished
    assert not flow.broken
    assert flow.moved == 3
