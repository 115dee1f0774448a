"""Bytes passed on unread by a real Envoy: TLS by server name, ports of their own, and who is not cut by changes."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeward.gateway.envoy import Gateway
from edgeward.gateway.model import Listen, Route, Service, TcpRoute
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, connect, own_certificate
from tests.ports import free_port

HTTP, HTTPS, TCP, PROXIED = free_port(), free_port(), free_port(), free_port()
BALANCER = "127.0.0.9"


class TlsEcho:
    """Ends TLS itself with a certificate of its own, says its name, and gives back what it gets."""

    def __init__(self, directory: Path, name: str) -> None:
        chain, key = own_certificate(name)
        (directory / f"{name}.pem").write_bytes(chain + key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(directory / f"{name}.pem")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                while data := connection.recv(65536):
                    connection.sendall(data)
        except OSError:
            plain.close()

    def close(self) -> None:
        self._socket.close()


class PlainEcho(TlsEcho):
    """Speaks first, gives back what it gets, and goes on writing after the visitor's end."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with plain:
                plain.sendall(b"hello\n")
                while data := plain.recv(65536):
                    plain.sendall(data)
                plain.sendall(b"bye\n")
        except OSError:
            pass


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rig"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def rig(directory: Path) -> Iterator[Rig]:
    made = Rig(directory, {n: n for n in ("shop.example", "own.pass.example")}, drain_seconds=1)
    yield made
    assert made.process.poll() is None
    made.close()


@pytest.fixture(scope="module", autouse=True)
def state(rig: Rig, directory: Path) -> Iterator[Gateway]:
    backend, plain = ShowingBackend(), PlainEcho()
    inner, other = TlsEcho(directory, "inner.example"), TlsEcho(directory, "other.example")

    def tcp(name: str, port: int, **more: Any) -> Service:
        return Service(name=name, backends=(f"tcp://127.0.0.1:{port}",), **more)

    said = [
        {"hosts": ["shop.example", "own.pass.example"], "service": "shown"},
        {"hosts": ["pass.example", "*.pass.example"], "service": "inner", "tls": "passthrough"},
        {"hosts": ["other.pass.example"], "service": "other", "tls": "passthrough", "http": "refuse"},
        {"hosts": ["idle.example"], "service": "inner", "tls": "passthrough", "timeouts": {"idle": "500ms"}},
    ]
    made = Gateway(
        Listen(http=f"127.0.0.1:{HTTP}", https=f"127.0.0.1:{HTTPS}", trusted_proxies=("127.0.0.7/32",)),
        (
            Service(name="shown", backends=(f"http://127.0.0.1:{backend.port}",)),
            tcp("inner", inner.port),
            tcp("other", other.port),
            tcp("plain", plain.port, health={"active": {"interval": "100ms"}}),
            tcp("gone", free_port()),
        ),
        tuple(parse(Route, one) for one in said),
        domains={"pass.example": "default", "*.pass.example": "default", "own.pass.example": "default"},
        tcp_routes=(
            TcpRoute(name="plain", listen=f"127.0.0.1:{TCP}", service="plain", most_connections=3),
            TcpRoute(name="proxied", listen=f"127.0.0.1:{PROXIED}", service="plain", proxy_protocol=(f"{BALANCER}/32",)),
        ),
    )  # fmt: skip
    rig.show(made)
    assert rig.discovery.refusals == []
    yield made
    for one in (backend, plain, inner, other):
        one.close()


def issued_to(connection: ssl.SSLSocket) -> str:
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return next(n for n in ("inner", "other", "shop", "own.pass") if n.encode() in der)


def echoes(connection: socket.socket, data: bytes = b"ping") -> bool:
    connection.sendall(data)
    return connection.recv(65536) == data


@pytest.mark.parametrize("source", [None, "127.0.0.7"])
@pytest.mark.parametrize("name", ["pass.example", "PASS.example", "a.pass.example", "b.pass.example."])
def test_tls_of_a_passed_host_is_ended_by_the_backend(name: str, source: str | None) -> None:
    with connect(HTTPS, name, source) as connection:
        assert issued_to(connection) == "inner"
        assert echoes(connection)


def test_an_exact_host_beats_the_wildcard() -> None:
    with connect(HTTPS, "other.pass.example") as connection:
        assert issued_to(connection) == "other"
    with connect(HTTPS, "own.pass.example") as connection:
        assert ask(connection, b"GET / HTTP/1.1\r\nHost: own.pass.example\r\n\r\n").startswith(
            b"HTTP/1.1 200"
        )


def test_a_name_two_labels_below_is_not_passed_through() -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(HTTPS, "a.b.pass.example")


def test_nobody_reaches_a_passed_host_by_its_host_header() -> None:
    with connect(HTTPS, "shop.example") as connection:
        for host in ("pass.example", "a.pass.example", "other.pass.example"):
            answer = ask(connection, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 421")


def test_over_plain_http_a_passed_host_redirects_or_is_refused() -> None:
    for host, status in (
        ("pass.example", b"308"),
        ("a.pass.example", b"308"),
        ("other.pass.example", b"404"),
    ):
        with socket.create_connection(("127.0.0.1", HTTP), timeout=30) as connection:
            answer = ask(connection, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.split(b" ")[1] == status, host


def test_a_stream_on_which_nothing_moves_ends() -> None:
    with connect(HTTPS, "idle.example") as connection:
        connection.settimeout(30)
        assert connection.recv(1) == b""


def test_a_port_of_its_own_lets_the_server_speak_first_and_last() -> None:
    with socket.create_connection(("127.0.0.1", TCP), timeout=30) as connection:
        assert connection.recv(100) == b"hello\n"
        assert echoes(connection)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"bye\n"
        assert connection.recv(100) == b""


def test_a_port_takes_no_more_connections_than_it_may() -> None:
    def opened() -> socket.socket | None:
        connection = socket.create_connection(("127.0.0.1", TCP), timeout=30)
        try:
            if connection.recv(100) == b"hello\n":
                return connection
        except OSError:
            pass
        connection.close()
        return None

    eventually(lambda: len(list(filter(None, [one := opened()]))) == 1 and not closed(one))
    found: list[socket.socket] = []
    end = time.monotonic() + 60
    while len(found) < 3 and time.monotonic() < end:  # those of the tests before are on their way out
        if (one := opened()) is not None:
            found.append(one)
    assert len(found) == 3
    assert opened() is None
    for one in found:
        one.close()


def closed(connection: socket.socket | None) -> bool:
    if connection is not None:
        connection.close()
    return False


def test_a_balancer_says_to_a_port_whom_it_speaks_for_and_strangers_cannot(rig: Rig) -> None:
    said = b"PROXY TCP4 203.0.113.77 192.0.2.1 4000 25\r\n"
    for source, served in ((BALANCER, True), ("127.0.0.1", False)):
        with socket.create_connection(
            ("127.0.0.1", PROXIED), timeout=30, source_address=(source, 0)
        ) as connection:
            connection.sendall(said + b"x")
            try:
                assert (connection.recv(6) == b"hello\n") == served
            except ConnectionResetError:
                assert not served
    eventually(lambda: any(line.get("client") == "203.0.113.77" for line in log(rig)))


def test_the_log_has_a_line_for_each_stream(rig: Rig) -> None:
    with connect(HTTPS, "other.pass.example") as connection:
        assert echoes(connection)
    eventually(lambda: any(
        line["protocol"] == "TCP" and line.get("sni") == "other.pass.example"
        and line["service"] == "default/other" and line["bytes_out"] > 0
        for line in log(rig) if "protocol" in line
    ))  # fmt: skip


def test_the_log_says_of_which_visitors_no_handshake_came_about(rig: Rig) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(HTTPS, "nobody.example")
    eventually(lambda: any(
        line["protocol"] == "TLS" and line.get("sni") == "nobody.example" and line["failure"]
        for line in log(rig) if "protocol" in line
    ))  # fmt: skip


def log(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rig.access_log.read_text().splitlines()]


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_changing_what_is_passed_through_cuts_nobody_else(rig: Rig, state: Gateway) -> None:
    """Envoy takes filter chains in place: connections of chains that stayed as they were go on."""
    shop = connect(HTTPS, "shop.example")
    request = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    assert ask(shop, request).startswith(b"HTTP/1.1 200")
    inner, other = connect(HTTPS, "pass.example"), connect(HTTPS, "other.pass.example")
    slower = {"hosts": ["other.pass.example", "newer.example"], "service": "other", "timeouts": {"idle": 9}}
    gone = {"hosts": ["new.example"], "service": "gone"}
    kept = (r for r in state.routes if "other.pass.example" not in r.hosts)
    more = (parse(Route, {**said, "tls": "passthrough"}) for said in (slower, gone))
    changed = replace(state, routes=(*kept, *more))
    for one in (changed, state, changed):
        rig.show(one)
        assert rig.discovery.refusals == []
    eventually(lambda: reaches("newer.example"))
    other.settimeout(30)
    assert other.recv(1) == b""  # its own chain is another one: it was given the drain time of a second

    answer = ask(shop, request)
    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" not in answer.lower()
    assert echoes(inner)
    shop.close()
    inner.close()
    other.close()


def reaches(name: str) -> bool:
    try:
        with connect(HTTPS, name) as connection:
            return issued_to(connection) == "other"
    except OSError:
        return False


def test_a_port_that_is_taken_is_told_by_name(rig: Rig, state: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more = TcpRoute(name="more", listen=f"127.0.0.1:{port}", service="plain")
        rig.discovery.set(rig.resources(replace(state, tcp_routes=(*state.tcp_routes, more))))
        eventually(lambda: bool(rig.discovery.refusals))
    refusals, rig.discovery.refusals[:] = list(rig.discovery.refusals), []
    assert f"tcp 127.0.0.1:{port}: cannot bind" in refusals[0]
    assert "Address already in use" in refusals[0]
    rig.show(state)
