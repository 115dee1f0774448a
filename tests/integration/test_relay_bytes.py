"""What comes out of a relay is what went in: byte by byte, end by end."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.processes import Process, running, until
from tests.integration.relay_rig import POOL, End, dial, exactly, listener, play, relay, reset, said
from tests.ports import free_port

HALF = len(POOL) // 2
chunks = st.lists(
    st.one_of(st.integers(1, 300), st.integers(1, 70_000), st.integers(60_000, 900_000)), max_size=4
)
reads = st.sampled_from([777, 4096, 65536, 1 << 20])
ends = st.builds(End, chunks=chunks, reads=reads)


@dataclass
class Way:
    front: int | str
    backend: socket.socket
    process: Process


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Way]]:
    """From TCP and from Unix, to TCP and to Unix."""
    directory = tmp_path_factory.mktemp("relay")
    found: list[Way] = []
    with ExitStack() as stack:
        for number, target in enumerate((free_port(), f"{directory}/backend")):
            backend = stack.enter_context(listener(target))
            fronts: list[int | str] = [free_port(), f"{directory}/front{number}"]
            to = target if isinstance(target, str) else f"127.0.0.1:{target}"
            process = stack.enter_context(relay("--to", to, "--listen", fronts[0], "--listen", fronts[1]))
            found += [Way(front, backend, process) for front in fronts]
        yield found


def _sockets(process: Process) -> int:
    descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
    return sum(os.readlink(descriptor).startswith("socket:") for descriptor in descriptors)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 3), client=ends, server=ends)
def test_both_sides_get_exactly_what_the_other_sent(
    ways: list[Way], number: int, client: End, server: End
) -> None:
    server.start = HALF
    way = ways[number]

    play(way.front, way.backend, client, server)

    assert (client.ended_by, server.ended_by) == ("end", "end")
    assert bytes(client.received) == server.sent
    assert bytes(server.received) == client.sent


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 3), client=ends, server=ends, client_resets=st.booleans())
def test_after_a_reset_the_other_side_has_a_beginning_of_what_was_sent(
    ways: list[Way], number: int, client: End, server: End, client_resets: bool
) -> None:
    server.start = HALF
    way = ways[number]
    client.resets, server.resets = client_resets, not client_resets
    whole, cut = (server, client) if client_resets else (client, server)

    play(way.front, way.backend, client, server)

    assert cut.sent.startswith(whole.received)
    assert whole.sent.startswith(cut.received)
    if number == 0:  # TCP on both sides: nobody takes what was cut off for all there was
        assert whole.ended_by != "end"


@pytest.mark.parametrize("number", [0, 2])
def test_a_reset_is_told_as_a_reset_after_all_that_came_before(ways: list[Way], number: int) -> None:
    way = ways[number]
    near = dial(way.front)
    far, _ = way.backend.accept()
    far.settimeout(30)
    near.sendall(POOL[:3000])
    if far.family == socket.AF_UNIX:
        assert exactly(far, 3000) == POOL[:3000]
        reset(near)
        assert far.recv(1) == b""  # a Unix socket has no other end than this
    else:
        time.sleep(0.1)
        reset(near)
        assert exactly(far, 3000) == POOL[:3000]
        with pytest.raises(ConnectionResetError):
            far.recv(1)
    far.close()


def test_a_backend_that_refuses_the_rest_of_a_long_question_is_heard_to_the_end(ways: list[Way]) -> None:
    way = ways[0]
    near = dial(way.front)
    far, _ = way.backend.accept()
    far.sendall(POOL[:100_000])
    far.shutdown(socket.SHUT_WR)
    near.sendall(b"x" * 1000)
    far.close()  # with bytes unread: a reset
    try:
        for _ in range(200):
            near.sendall(b"x" * 10_000)
    except OSError:
        pass

    answer = bytearray()
    try:
        while data := near.recv(65536):
            answer += data
    except ConnectionResetError:
        pass

    assert bytes(answer) == POOL[:100_000]


def test_a_half_closed_stream_goes_on_in_the_other_direction(ways: list[Way]) -> None:
    for way in ways:
        near = dial(way.front)
        far, _ = way.backend.accept()
        far.settimeout(30)
        near.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b""
        far.sendall(b"still here")
        assert exactly(near, 10) == b"still here"
        far.close()
        assert near.recv(1) == b""
        near.close()


def test_a_reader_that_stands_still_holds_the_writer_back(ways: list[Way]) -> None:
    way = ways[0]
    near = dial(way.front)
    far, _ = way.backend.accept()
    near.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while True:
            sent += near.send(POOL[:65536])
    resident = int(Path(f"/proc/{way.process.pid}/statm").read_text().split()[1]) * 4096

    far.settimeout(30)
    got = 0
    while got < sent:
        got += len(far.recv(1 << 20))

    assert resident < 80 * 1024 * 1024
    assert got == sent
    near.close()
    far.close()


def test_nothing_is_left_open_when_all_connections_are_through(ways: list[Way]) -> None:
    for way in ways:
        before = _sockets(way.process)
        for number in range(12):
            play(way.front, way.backend, End([1000, 200_000], resets=number % 3 == 0), End([150_000]))
        until(lambda was=before, of=way.process: _sockets(of) <= was, what="the end of all connections")


def test_where_the_kernel_does_not_splice_the_bytes_are_the_same(needs: Callable[[str], str]) -> None:
    port, front = free_port(), free_port()
    strace = [
        needs("strace"),
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=splice",
        "-e",
        "inject=splice:error=EINVAL",
    ]
    argv = [
        *strace,
        sys.executable,
        "-m",
        "edgeward.relay",
        "--to",
        f"127.0.0.1:{port}",
        "--listen",
        str(front),
    ]
    client, server = End([900_000, 5, 900_000]), End([2_000_000], start=HALF)
    with listener(port) as backend, running(argv) as process:
        until(lambda: said(process, "relay started"), what="the relay")
        play(front, backend, client, server)

    assert bytes(client.received) == server.sent
    assert bytes(server.received) == client.sent
