"""Every kind of backend behind a real Envoy: TLS verified, HTTP/2 and gRPC, Unix sockets, sick and dead ones."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import socketserver
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgeward.gateway.envoy import Gateway
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, connect
from tests.integration.processes import until
from tests.patience import PATIENCE
from tests.ports import free_port

HTTPS = free_port()
NAME = "shop.example"


class Named(BaseHTTPRequestHandler):
    """Answers with its server's ``says`` and ``status``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.server.says  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def named(says: bytes, tls: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Named)
    server.says, server.status = says, 200  # type: ignore[attr-defined]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Authority:
    """A test CA with the key usage that verifiers ask for."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = self._builder(self.name, self.key.public_key())
        self.certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def context(self, directory: Path, *names: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names
        ]
        certificate = (
            self._builder(x509.Name([]), key.public_key())
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        file = directory / f"{names[0]}-{time.monotonic_ns()}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    directory = Path(tempfile.mkdtemp(prefix="rig"))
    found = Rig(directory, {NAME: NAME})
    yield found
    found.close()
    shutil.rmtree(directory)


def show(rig: Rig, *backends: Any, addresses: dict[str, list[str]] | None = None, **more: Any) -> None:
    service = parse(Service, {"name": "s", "backends": list(backends), **more})
    route = parse(Route, {"hosts": [NAME], "service": "s"})
    rig.show(Gateway(Listen(https=f"127.0.0.1:{HTTPS}"), (service,), (route,)), addresses)
    assert rig.discovery.refusals == []


def visit() -> tuple[int, bytes]:
    with connect(HTTPS, NAME) as connection:
        answer = ask(connection, f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


def settles(expected: Any, seconds: float = 10.0) -> bool:
    """Tell whether visits give what is expected before the time is over: pushes take effect soon, not at once."""
    end = time.monotonic() + seconds * PATIENCE
    while visit() != expected:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


SICK = (503, b"503 Service Unavailable: the site's server does not answer. Please try again soon.\n")


def test_a_tls_backend_is_verified_by_authority_and_name(rig: Rig) -> None:
    authority, other = Authority(), Authority()
    server = named(b"over tls", authority.context(rig.directory, "inside.example", "127.0.0.1"))
    url = f"https://127.0.0.1:{server.server_port}"

    show(rig, {"url": url, "tls": {"ca": authority.pem, "server_name": "inside.example"}})
    assert settles((200, b"over tls"))
    show(rig, {"url": url, "tls": {"ca": authority.pem}})
    assert settles((200, b"over tls"))
    show(rig, {"url": url, "tls": {"ca": authority.pem, "server_name": "other.example"}})
    assert settles(SICK)
    show(rig, {"url": url, "tls": {"ca": other.pem, "server_name": "inside.example"}})
    assert settles(SICK)
    show(rig, url)
    time.sleep(0.5)
    assert visit()[0] == 503
    show(rig, {"url": url, "tls": {"verify": False}})
    assert settles((200, b"over tls"))
    server.shutdown()


def test_plain_and_tls_backends_share_a_service(rig: Rig) -> None:
    authority = Authority()
    first = named(b"plain")
    second = named(b"tls", authority.context(rig.directory, "127.0.0.1"))
    show(
        rig,
        f"http://127.0.0.1:{first.server_port}",
        {"url": f"https://127.0.0.1:{second.server_port}", "tls": {"ca": authority.pem}},
    )
    assert settles((200, b"plain")) and settles((200, b"tls"))
    assert {visit() for _ in range(20)} == {(200, b"plain"), (200, b"tls")}
    first.shutdown(), second.shutdown()


def test_a_name_is_forwarded_to_every_address_it_has(rig: Rig) -> None:
    server = named(b"by name")
    url = f"http://backend.internal:{server.server_port}"
    show(rig, url, addresses={"backend.internal": ["127.0.0.1", "127.0.0.3"]})
    assert settles((200, b"by name"))
    show(rig, url, addresses={})
    assert settles(SICK)
    server.shutdown()


def test_a_unix_socket_is_a_backend(rig: Rig) -> None:
    path = rig.directory / "app.sock"

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix")

    with socketserver.ThreadingUnixStreamServer(str(path), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        show(rig, f"unix:{path}")
        assert settles((200, b"unix"))
        server.shutdown()


def test_a_backend_that_fails_its_health_check_is_left_out_until_it_is_well(rig: Rig) -> None:
    well, sick = named(b"well"), named(b"sick")
    both = [f"http://127.0.0.1:{s.server_port}" for s in (well, sick)]
    show(
        rig,
        *both,
        health={"active": {"interval": "100ms", "timeout": "1s", "unhealthy": 1, "path": "/health"}},
    )
    assert settles((200, b"sick")) and settles((200, b"well"))

    sick.status = 500  # type: ignore[attr-defined]
    until(lambda: {visit() for _ in range(20)} == {(200, b"well")}, what="the sick one being left out")

    sick.status = 200  # type: ignore[attr-defined]
    assert settles((200, b"sick"))
    well.shutdown(), sick.shutdown()


def test_a_backend_that_fails_visitors_is_paused(rig: Rig) -> None:
    well, sick = named(b"well"), named(b"sick")
    both = [f"http://127.0.0.1:{s.server_port}" for s in (well, sick)]
    show(rig, *both, health={"passive": {"errors": 3, "pause": "60s"}}, retries={"attempts": 0})
    assert settles((200, b"sick")) and settles((200, b"well"))

    sick.status = 503  # type: ignore[attr-defined]
    for _ in range(20):
        visit()
    assert {visit() for _ in range(20)} == {(200, b"well")}
    well.shutdown(), sick.shutdown()


def test_a_dead_backend_costs_no_visitor_an_error(rig: Rig) -> None:
    server = named(b"alive")
    show(rig, f"http://127.0.0.1:{server.server_port}", f"http://127.0.0.1:{free_port()}")
    assert settles((200, b"alive"))

    assert {visit() for _ in range(30)} == {(200, b"alive")}
    server.shutdown()


def test_a_request_that_had_an_effect_is_not_sent_twice(rig: Rig) -> None:
    shown = ShowingBackend()
    dropping = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def drop() -> None:
        while True:
            try:
                connection, _ = dropping.accept()
            except OSError:
                return
            seen.append(connection.recv(65536))
            connection.close()

    threading.Thread(target=drop, daemon=True).start()
    show(rig, f"http://127.0.0.1:{dropping.getsockname()[1]}", f"http://127.0.0.1:{shown.port}")
    until(lambda: (visit(), shown.heads)[1], what="both being there")
    seen.clear(), shown.heads.clear()
    answers = []
    for _ in range(10):
        with connect(HTTPS, NAME) as connection:
            body = f"POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 2\r\n\r\nhi".encode()
            answers.append(int(ask(connection, body).split(b" ", 2)[1]))

    assert len(seen) + len(shown.heads) == 10
    assert answers.count(503) + answers.count(502) == len(seen) > 0
    dropping.close(), shown.close()


def test_a_post_finds_a_backend_that_is_there_also_where_answers_to_others_are_tried_again(rig: Rig) -> None:
    shown = ShowingBackend()
    backends = f"http://127.0.0.1:{shown.port}", f"http://127.0.0.1:{free_port()}"
    show(rig, *backends, retries={"statuses": [503]})
    until(lambda: visit()[0] == 200, what="the backend being there")
    answers = []
    for _ in range(10):
        with connect(HTTPS, NAME) as connection:
            body = f"POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 2\r\n\r\nhi".encode()
            answers.append(int(ask(connection, body).split(b" ", 2)[1]))

    assert answers == [200] * 10
    shown.close()


def test_grpc_goes_through_end_to_end(rig: Rig) -> None:
    def count(request: bytes, _context: Any) -> Iterator[bytes]:
        for number in range(3):
            yield request + str(number).encode()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    handler = grpc.unary_stream_rpc_method_handler(count)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Count", {"Up": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    show(rig, f"grpc://127.0.0.1:{port}")
    with connect(HTTPS, NAME) as connection:
        pem = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
    credentials = grpc.ssl_channel_credentials(pem.encode())
    options = (("grpc.ssl_target_name_override", NAME), ("grpc.default_authority", NAME))
    with grpc.secure_channel(f"127.0.0.1:{HTTPS}", credentials, options) as channel:
        call = channel.unary_stream("/test.Count/Up")
        end = time.monotonic() + 60
        while True:
            try:
                assert list(call(b"n", timeout=30)) == [b"n0", b"n1", b"n2"]
                break
            except grpc.RpcError:
                assert time.monotonic() < end
                time.sleep(0.2)
    server.stop(None)
