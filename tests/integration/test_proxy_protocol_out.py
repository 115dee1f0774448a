"""Backends told with the PROXY protocol whom a connection is for: never anybody else."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgeward.gateway.envoy import Gateway
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ask, connect
from tests.integration.test_backends_on_envoy import Authority
from tests.ports import free_port

NAME = "shop.example"
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


HTTPS = free_port()


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    directory = Path(tempfile.mkdtemp(prefix="rig"))
    found = Rig(directory, {NAME: NAME}, concurrency=2)
    yield found
    found.close()
    shutil.rmtree(directory)


class Told:
    """Reads a PROXY header, then answers each request with what it was told and which connection this is."""

    def __init__(self, server: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self.server, self.tls = server, tls
        self.firsts: list[bytes] = []
        self.sources: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, len(self.sources)), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection:
            connection.settimeout(30)
            try:
                said = _header(connection)
                self.sources.append(said)
                if self.tls is not None:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                rest = b""
                while data := connection.recv(65536):
                    rest += data
                    self.firsts.append(rest)
                    while b"\r\n\r\n" in rest and not rest.startswith(b"PRI "):
                        _, _, rest = rest.partition(b"\r\n\r\n")
                        body = f"{number} {said}".encode()
                        connection.sendall(
                            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                        )
            except OSError:
                return


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = connection.recv(count - len(found))
        if not more:
            raise OSError("cut")
        found += more
    return found


def _header(connection: socket.socket) -> str:
    """Read a header of either version: ``ADDRESS:PORT`` of its source, or ``local``."""
    start = _exactly(connection, 6)
    if start == b"PROXY ":
        line = b""
        while not line.endswith(b"\r\n"):
            line += _exactly(connection, 1)
        family, source, _, port, _ = line.decode().split()
        assert family in ("TCP4", "TCP6")
        return f"{source}:{port}"
    assert start + _exactly(connection, 6) == _SIGNATURE
    command, family_and_kind, length = struct.unpack("!BBH", _exactly(connection, 4))
    rest = _exactly(connection, length)
    if command == 0x20:
        return "local"
    assert (command, family_and_kind) == (0x21, 0x11)
    return f"{ipaddress.ip_address(rest[:4])}:{struct.unpack('!H', rest[8:10])[0]}"


def show(rig: Rig, backend: Any, version: str, **more: Any) -> None:
    name = f"s{time.monotonic_ns()}"
    service = parse(Service, {"name": name, "backends": [backend], "proxy_protocol": version, **more})
    route = parse(Route, {"hosts": [NAME], "service": name, "response_headers": {"set": {"x-shown": name}}})
    rig.show(Gateway(Listen(https=f"127.0.0.1:{HTTPS}"), (service,), (route,)))
    end = time.monotonic() + 60
    while not (isinstance(backend, str) and backend.startswith("h2c")):  # those answer nothing here
        with connect(HTTPS, NAME) as visitor:
            if f"x-shown: {name}".encode() in asked(visitor):
                return
        assert time.monotonic() < end and rig.discovery.refusals == []
        time.sleep(0.05)


def asked(visitor: ssl.SSLSocket) -> bytes:
    return ask(visitor, f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())


def told(visitor: ssl.SSLSocket) -> tuple[str, str]:
    """Give which connection a request of this visitor went over, and for whom that was."""
    number, _, source = asked(visitor).partition(b"\r\n\r\n")[2].decode().partition(" ")
    return number, source


def own(visitor: ssl.SSLSocket) -> str:
    host, port = visitor.getsockname()
    return f"{host}:{port}"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["http", "https", "unix"])
def test_no_request_goes_over_a_connection_that_was_told_to_be_anothers(
    rig: Rig, version: str, kind: str
) -> None:
    backend, declared = made(rig, kind, version)
    show(rig, declared, version, retries={"attempts": 0})

    visitors = [connect(HTTPS, NAME, f"127.0.0.{number}") for number in (1, 1, 5, 6)]
    seen: dict[str, set[str]] = {}
    for _ in range(5):
        for visitor in visitors:
            number, source = told(visitor)
            assert source == own(visitor)
            seen.setdefault(source, set()).add(number)

    def hammer(visitor: ssl.SSLSocket) -> bool:
        return all(told(visitor)[1] == own(visitor) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(hammer, visitors))
    assert len(seen) == 4 and all(len(numbers) == 1 for numbers in seen.values())  # kept alive, each its own
    for visitor in visitors:
        visitor.close()
    backend.server.close()


def made(rig: Rig, kind: str, version: str) -> tuple[Told, Any]:
    if kind == "unix":
        path = rig.directory / f"{version}.sock"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        return Told(server), f"unix:{path}"
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    if kind == "http":
        return Told(server), f"http://127.0.0.1:{port}"
    authority = Authority()
    context = authority.context(rig.directory, "127.0.0.1")
    return Told(server, context), {"url": f"https://127.0.0.1:{port}", "tls": {"ca": authority.pem}}


def test_http2_backends_are_told_first(rig: Rig) -> None:
    backend = Told(socket.create_server(("127.0.0.1", 0)))
    show(rig, f"h2c://127.0.0.1:{backend.server.getsockname()[1]}", "v2")
    visitors = set()
    end = time.monotonic() + 60
    while not any(first.startswith(b"PRI * HTTP/2.0") for first in backend.firsts):
        assert time.monotonic() < end
        with connect(HTTPS, NAME) as visitor:
            visitor.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            time.sleep(0.2)
            visitors.add(own(visitor))
    assert visitors.intersection(backend.sources)
    backend.server.close()


def test_health_checks_say_that_they_are_for_nobody(rig: Rig) -> None:
    for kind in ("http", "unix"):
        backend, declared = made(rig, kind, f"health-{kind}")
        show(rig, declared, "v2", health={"active": {"interval": "100ms"}})
        end = time.monotonic() + 60
        while "local" not in backend.sources and time.monotonic() < end:
            time.sleep(0.05)
        assert "local" in backend.sources
        backend.server.close()
    assert rig.process.poll() is None
