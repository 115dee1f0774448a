"""An authority's checks of names through a real Envoy: answered before anything declared, and nothing else is."""

from __future__ import annotations

import hashlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from edgeward.gateway.envoy import NO_SNI, Gateway
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, connect
from tests.integration.proving_rig import Answers
from tests.ports import free_port

TOKEN, NAME = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA", "new.elsewhere.example"
KNOWN = {("http-01", TOKEN): f"{TOKEN}.thumbprint", ("tls-alpn-01", NAME): "token.thumbprint"}
PATH = f"/.well-known/acme-challenge/{TOKEN}"
UNKNOWN = "/.well-known/acme-challenge/" + "x" * 43


class World:
    def __init__(self, directory: Path) -> None:
        self.backend = ShowingBackend()
        self.node = Answers(directory, lambda: KNOWN)
        self.rig = Rig(directory, {"shop.example": "shop.example", NO_SNI: "shop.example"})
        self.http, self.https = free_port(), free_port()
        self.passed = socket.create_server(("127.0.0.1", 0))
        services = (
            Service(name="shown", backends=(f"http://127.0.0.1:{self.backend.port}",)),
            Service(name="passed", backends=(f"tcp://127.0.0.1:{self.passed.getsockname()[1]}",)),
        )
        routes: list[dict[str, Any]] = [
            {"name": "served", "hosts": ["shop.example"], "service": "shown", "http": "serve"},
            {
                "name": "part",
                "hosts": ["part.example"],
                "service": "shown",
                "http": "serve",
                "paths": ["/api"],
            },
            {"name": "moved", "hosts": ["moved.example"], "redirect": {"host": "x.example"}, "http": "serve"},
            {"name": "secure", "hosts": ["secure.example"], "service": "shown"},
            {"name": "refused", "hosts": ["refused.example"], "service": "shown", "http": "refuse"},
            {"name": "through", "hosts": ["*.through.example"], "service": "passed", "tls": "passthrough"},
        ]
        self.rig.show(
            Gateway(
                Listen(http=f"127.0.0.1:{self.http}", https=f"127.0.0.1:{self.https}"),
                services,
                tuple(parse(Route, route) for route in routes),
                proofs=str(directory),
            )
        )
        assert self.rig.discovery.refusals == []

    def plain(self, target: str, host: str, method: str = "GET", *lines: str) -> tuple[int, bytes]:
        head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *lines])
        with socket.create_connection(("127.0.0.1", self.http), timeout=30) as connection:
            answer = ask(connection, f"{head}\r\n\r\n".encode())
        return int(answer.split(b" ", 2)[1]), answer

    def close(self) -> None:
        self.rig.close()
        self.node.close()
        self.backend.close()
        self.passed.close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="proofs") as directory:
        made = World(Path(directory))
        yield made
        made.close()


HOSTS = ["shop.example", "part.example", "moved.example", "secure.example", "refused.example", NAME]


@pytest.mark.parametrize("host", HOSTS)
def test_a_known_token_is_answered_whatever_is_declared_for_its_name(world: World, host: str) -> None:
    status, answer = world.plain(PATH, host)

    assert status == 200
    assert answer.endswith(b"\r\n\r\n" + KNOWN["http-01", TOKEN].encode())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("shop.example", 200),
        ("part.example", 404),
        ("moved.example", 301),
        ("refused.example", 404),
        (NAME, 308),
    ],
)
def test_an_unknown_token_goes_where_it_would_go_anyway(world: World, host: str, status: int) -> None:
    found, answer = world.plain(UNKNOWN, host)

    assert found == status
    if host == "shop.example":
        assert UNKNOWN.encode() in answer and answer.lower().count(b"x-forwarded-for") == 1


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (PATH, "POST"),
        (PATH, "PUT"),
        (f"{PATH}/", "GET"),
        (f"{PATH}/more", "GET"),
        (f"{PATH}%2f", "GET"),
        (f"/x{PATH}", "GET"),
        (f"/.well-known/acme-challenge/{TOKEN[:10]}", "GET"),
        (f"/.well-known/acme-challenge/{TOKEN}.x", "GET"),
        ("/.well-known/acme-challenge/", "GET"),
        ("/", "GET"),
    ],
)
def test_nothing_but_the_path_of_a_token_is_answered(world: World, target: str, method: str) -> None:
    status, answer = world.plain(target, "shop.example", method, "Content-Length: 0")

    assert KNOWN["http-01", TOKEN].encode() not in answer
    assert status == 200 and f"{method} ".encode() in answer


def test_head_is_answered_without_a_body(world: World) -> None:
    status, answer = world.plain(PATH, NAME, "HEAD")

    assert status == 200 and answer.endswith(b"\r\n\r\n")


def test_other_requests_are_not_asked_about(world: World) -> None:
    before = world.node.looks
    for target in ("/", "/.well-known/acme-challenge/short", "/.well-known/other"):
        world.plain(target, "shop.example")

    assert world.node.looks == before


def test_two_hosts_are_refused_before_anything_is_asked(world: World) -> None:
    assert world.plain(PATH, "a.example,b.example")[0] == 400


def test_where_no_controller_answers_requests_go_where_they_would_go(world: World) -> None:
    world.node.down = True
    try:
        assert world.plain(UNKNOWN, "shop.example")[0] == 200
        assert world.plain(UNKNOWN, NAME)[0] == 308
    finally:
        world.node.down = False


def alpn(world: World, name: str | None, *protocols: str) -> tuple[str | None, x509.Certificate] | None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    try:
        with (
            socket.create_connection(("127.0.0.1", world.https), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            der = secure.getpeercert(binary_form=True)
            assert der is not None
            return secure.selected_alpn_protocol(), x509.load_der_x509_certificate(der)
    except (ssl.SSLError, ConnectionError):
        return None


@pytest.mark.parametrize("spelling", [NAME, NAME.upper()])
def test_a_name_without_certificate_and_route_is_proven_by_tls(world: World, spelling: str) -> None:
    found = alpn(world, spelling, "acme-tls/1")

    assert found is not None
    protocol, certificate = found
    assert protocol == "acme-tls/1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName(NAME)]
    proof = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    digest = hashlib.sha256(KNOWN["tls-alpn-01", NAME].encode()).digest()
    assert proof.critical and proof.value.value == b"\x04\x20" + digest  # type: ignore[attr-defined]


def test_a_name_that_nobody_proves_gets_no_certificate(world: World) -> None:
    assert alpn(world, "shop.example", "acme-tls/1") is None
    assert alpn(world, None, "acme-tls/1") is None


def test_visitors_get_their_certificate_as_ever(world: World) -> None:
    found = alpn(world, "shop.example", "http/1.1")

    assert found is not None and found[0] == "http/1.1"
    assert alpn(world, NAME, "http/1.1") is None
    with connect(world.https, "shop.example") as connection:
        assert ask(connection, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_visitor_who_offers_more_than_the_proof_gets_a_page(world: World) -> None:
    found = alpn(world, "shop.example", "acme-tls/1", "http/1.1")

    assert found is not None and found[0] == "http/1.1"


def test_a_name_that_is_passed_on_unread_is_proven_by_whoever_is_behind(world: World) -> None:
    asked = world.node.looks
    threading.Thread(target=lambda: alpn(world, "a.through.example", "acme-tls/1"), daemon=True).start()
    world.passed.settimeout(30)
    connection, _ = world.passed.accept()

    with connection:
        assert connection.recv(3)[:1] == b"\x16"
    assert world.node.looks == asked
