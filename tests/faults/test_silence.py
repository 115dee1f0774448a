"""The controller says nothing for a while, or too many come at once: visitors of known names see nothing."""

from __future__ import annotations

import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.injection import delayed, injected
from tests.faults.test_clock import DECLARED
from tests.integration.controller_setup import Controller
from tests.integration.node_rig import Rig, assert_rests, within
from tests.integration.processes import Process
from tests.patience import PATIENCE


class Edge:
    """A real controller, node and Envoy."""

    def __init__(self, state_dir: Path) -> None:
        self.controller = Controller(state_dir / "s")
        self.controller.state_dir.mkdir(mode=0o700)
        self.rig = Rig(self.controller.state_dir)
        self.controller.declare(DECLARED.format(https=self.rig.port))
        self.process: Process | None = None

    def connected(self) -> bool:
        return self.rig.metric("edgeward_node_controller_connected") == {"": 1.0}


@contextmanager
def started(state_dir: Path, wrapper: tuple[str, ...] = ()) -> Iterator[Edge]:
    made = Edge(state_dir)
    with made.controller.start("--local-node", "n1", wrapper=wrapper) as process, made.rig.stack:
        made.process = process
        made.rig.start_node()
        made.rig.start_envoy()
        made.rig.wait_ready()
        within(10, lambda: made.rig.served("shop.example"), "shop.example")
        within(10, lambda: made.rig.served("a.c.example"), "a.c.example")
        yield made


@contextmanager
def visited(edge: Edge, *names: str) -> Iterator[list[str]]:
    """Have visitors come twenty times a second, also by new connections; gives the names refused."""
    refused: list[str] = []
    stop = threading.Event()

    def visit() -> None:
        while not stop.wait(0.05):
            for name in names:
                with suppress(OSError):
                    if edge.rig.visit(name, 3) is not None:
                        continue
                refused.append(name)

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        yield refused
    finally:
        stop.set()
        visitor.join()


@pytest.mark.slow
def test_a_stopped_controller_is_noticed_and_visitors_of_known_names_see_nothing(state_dir: Path) -> None:
    with started(state_dir) as edge, visited(edge, "shop.example", "a.c.example") as refused:
        assert edge.process is not None and edge.rig.node is not None
        edge.process.send(signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            began = time.monotonic()
            assert not edge.rig.served("first.c.example")
            first = time.monotonic() - began
            assert first < 11 * PATIENCE, "the first new name waits for an answer, in bounded time"
            within(
                18 - (time.monotonic() - stopped), lambda: not edge.connected(), "the silence to be noticed"
            )
            time.sleep(max(0.0, 20 - (time.monotonic() - stopped)))
        finally:
            edge.process.send(signal.SIGCONT)
        within(8, edge.connected, "the feed")
        within(5, lambda: edge.rig.served("second.c.example"), "new names")
        within(5, lambda: edge.rig.served("first.c.example"), "the name that failed")
    assert refused == []
    assert edge.process.returncode in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_while_a_controller_is_stopped_new_names_fail_fast_once_the_node_knows(state_dir: Path) -> None:
    with started(state_dir) as edge:
        assert edge.process is not None
        edge.process.send(signal.SIGSTOP)
        try:
            within(18, lambda: not edge.connected(), "the silence to be noticed")
            edge.rig.served("one.c.example")  # may be the one that finds out
            waits = []
            for n in range(6):
                began = time.monotonic()
                assert not edge.rig.served(f"new{n}.c.example")
                waits.append(time.monotonic() - began)
            assert sorted(waits)[len(waits) // 2] < 1.0, waits
        finally:
            edge.process.send(signal.SIGCONT)
        within(8, lambda: edge.rig.served("new0.c.example"), "new names again")


@pytest.mark.slow
def test_a_slow_controller_is_slow_for_new_names_only(state_dir: Path, needs) -> None:
    trace = state_dir / "strace"
    with (
        started(state_dir, delayed(needs("strace"), "fdatasync", 0.5, trace)) as edge,
        visited(edge, "shop.example", "a.c.example") as refused,
    ):
        for n in range(3):
            began = time.monotonic()
            assert edge.rig.served(f"slow{n}.c.example")
            assert 0.4 < time.monotonic() - began < 6 * PATIENCE
        assert edge.connected()
    assert refused == []
    assert injected(trace) >= 3


# --- file descriptors -----------------------------------------------------------------------


def lower(pid: int, soft: int) -> None:
    """Lower a process's own bound of open files; only the soft one, so that it can be raised again."""
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def crowd(count: int, family: socket.AddressFamily, address: object) -> Iterator[int]:
    """Hold many connections open; gives how many there are."""
    held = []
    try:
        for _ in range(count):
            one = socket.socket(family, socket.SOCK_STREAM)
            one.settimeout(0.2)
            try:
                one.connect(address)
                held.append(one)
            except OSError:
                one.close()
        yield len(held)
    finally:
        for one in held:
            one.close()


@pytest.mark.slow
def test_out_of_file_descriptors_the_controller_survives_and_recovers(state_dir: Path) -> None:
    with started(state_dir) as edge, visited(edge, "shop.example", "a.c.example") as refused:
        assert edge.process is not None
        with edge.controller.client() as client:
            assert client.get("/v1/status").status_code == 200
        lower(edge.process.pid, 64)
        with crowd(200, socket.AF_INET, ("127.0.0.1", edge.controller.port)) as held:
            assert held > 64, "more than it has descriptors for"
            assert_rests(edge.process.pid)
            assert edge.process.alive()
            assert not edge.controller.answers(), "control: nobody else gets in"
        within(15, edge.controller.answers, "answers again")
        within(15, edge.connected, "the feed")
        with edge.controller.client() as client:
            assert client.put("/v1/domains/later.example", json={}).status_code in (200, 201)
        within(10, lambda: edge.rig.served("later.example"), "a new name")
    assert refused == []


@pytest.mark.slow
def test_out_of_file_descriptors_the_node_survives_and_recovers(state_dir: Path) -> None:
    with started(state_dir) as edge, visited(edge, "shop.example", "a.c.example") as refused:
        node = edge.rig.node
        assert node is not None
        lower(node.pid, 64)
        path = str(edge.rig.node_dir / "node.sock")
        with crowd(150, socket.AF_UNIX, path) as held:
            assert held > 64
            assert_rests(node.pid)
            assert node.alive()
            assert not edge.rig.ready(), "control: nobody else gets in"
        within(15, edge.rig.ready, "answers again")
        within(15, lambda: edge.rig.served("later.c.example"), "a new name")
        within(15, edge.connected, "the feed")
    assert refused == []
