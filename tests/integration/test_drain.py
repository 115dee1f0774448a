"""What visitors notice when Envoy is asked to end: nothing, as long as they finish in time."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgeward.gateway.envoy import Gateway, endpoints, translate
from edgeward.gateway.model import Listen, Route, Service
from edgeward.xds import messages as m
from tests.integration.gateway_rig import Discovery
from tests.integration.processes import Process, Running, until
from tests.integration.test_launcher import launcher

_HOST = "shop.example"


class SlowBackend:
    """Answers ``/slow`` only once ``finish`` is set, everything else at once."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.asked = threading.Event()
        self.finish = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b"GET /slow"):
                    self.asked.set()
                    self.finish.wait(30)
                if line == b"\r\n":
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def backend() -> Iterator[SlowBackend]:
    slow = SlowBackend()
    yield slow
    slow.finish.set()
    slow.close()


@contextmanager
def discovery(state_dir: Path, port: int, backend: SlowBackend) -> Iterator[None]:
    """Tell the launcher's Envoy to serve plain HTTP on ``port``."""
    service = Service(name="slow", backends=(f"http://127.0.0.1:{backend.port}",))
    gateway = Gateway(
        listen=Listen(http=f"127.0.0.1:{port}"),
        services=(service,),
        routes=(Route(hosts=(_HOST,), service="slow", http="serve"),),
    )
    told = Discovery({})
    told.set((*translate(gateway), endpoints(service, {})))
    handler = grpc.stream_stream_rpc_method_handler(
        told.stream, m.DeltaDiscoveryRequest.FromString, lambda answer: answer.SerializeToString()
    )
    server = grpc.server(futures.ThreadPoolExecutor(8))
    name = "envoy.service.discovery.v3.AggregatedDiscoveryService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {"DeltaAggregatedResources": handler}),)
    )
    server.add_insecure_port(f"unix:{state_dir / 'node/xds.sock'}")
    server.start()
    try:
        yield
    finally:
        server.stop(None)


def ask(port: int, path: str) -> socket.socket:
    visitor = socket.create_connection(("127.0.0.1", port), timeout=30)
    visitor.sendall(f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode())
    return visitor


def answer(visitor: socket.socket) -> bytes:
    data = b""
    while piece := visitor.recv(65536):
        data += piece
        if b"\r\n\r\nok" in data:
            break
    return data


@contextmanager
def serving(
    running: Running, state_dir: Path, port: int, backend: SlowBackend, *options: str
) -> Iterator[Process]:
    with running(launcher(state_dir, *options)) as process:
        until((state_dir / "node/admin.sock").exists, what="Envoy's start")
        with discovery(state_dir, port, backend):
            until(lambda: record(state_dir)["state"] == "serving", what="Envoy serving")
            yield process


def record(state_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state_dir / "node/envoy.json").read_text())
    return found


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_under_way_is_finished_and_new_visitors_are_not_taken(
    running: Running, state_dir: Path, free_port: Callable[[], int], backend: SlowBackend
) -> None:
    port = free_port()
    with serving(running, state_dir, port, backend, "--drain-seconds", "120") as process:
        visitor = ask(port, "/slow")
        assert backend.asked.wait(30)
        process.send(signal.SIGTERM)
        until(lambda: is_refused(port), what="the closed door")
        assert process.alive()
        backend.finish.set()

        assert b"200 OK" in (said := answer(visitor)) and b"connection: close" in said
        assert process.wait(30) == 0


def test_an_idle_visitor_does_not_hold_it_up(
    running: Running, state_dir: Path, free_port: Callable[[], int], backend: SlowBackend
) -> None:
    port = free_port()
    with serving(running, state_dir, port, backend, "--drain-seconds", "300") as process:
        idle = ask(port, "/")
        assert b"200 OK" in answer(idle)
        process.send(signal.SIGTERM)

        assert process.wait(30) == 0


def test_whoever_takes_too_long_is_cut_off(
    running: Running, state_dir: Path, free_port: Callable[[], int], backend: SlowBackend
) -> None:
    port = free_port()
    with serving(running, state_dir, port, backend, "--drain-seconds", "1") as process:
        visitor = ask(port, "/slow")
        assert backend.asked.wait(30)
        process.send(signal.SIGTERM)

        assert process.wait(30) == 0
        assert b"200 OK" not in answer(visitor)
        assert "visitors had not finished in time" in process.output()


def test_a_second_signal_waits_for_nobody(
    running: Running, state_dir: Path, free_port: Callable[[], int], backend: SlowBackend
) -> None:
    port = free_port()
    with serving(running, state_dir, port, backend, "--drain-seconds", "60") as process:
        visitor = ask(port, "/slow")
        assert backend.asked.wait(30)
        process.send(signal.SIGTERM)
        until(lambda: record(state_dir)["state"] == "draining", what="the first signal's effect")
        process.send(signal.SIGTERM)

        assert process.wait(30) == 0
        visitor.close()


def test_a_killed_envoy_serves_again_by_itself(
    running: Running, state_dir: Path, free_port: Callable[[], int], backend: SlowBackend
) -> None:
    port = free_port()
    with serving(running, state_dir, port, backend) as process:
        before = record(state_dir)["pid"]
        os.kill(before, signal.SIGKILL)
        until(
            lambda: record(state_dir)["state"] == "serving" and record(state_dir)["pid"] != before,
            what="another Envoy that serves",
        )

        assert b"200 OK" in answer(ask(port, "/"))
        assert process.alive()
