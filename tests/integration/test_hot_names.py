"""Names with filter chains of their own on two real Envoys: resumed sessions, RSA beside ECDSA, HTTP/3, no cut."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgeward.gateway.envoy import NO_SNI, Gateway
from edgeward.gateway.envoy.gateway import ClientCertificates, Edge
from edgeward.gateway.envoy.tls import AUTHORITY, ECDSA, RSA, TICKETS, secret_of
from edgeward.gateway.model import Listen, Route, Service
from edgeward.node.certificates.secrets import ticket_keys
from edgeward.parsing import parse
from edgeward.xds import messages as m
from tests.client_certificates import Authority
from tests.integration import http3
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, connect, own_certificate
from tests.ports import free_port

PORTS = free_port(), free_port()
HOT = ("hot.example", "warm.example", "asking.example")
OURS = Authority("ours")
TRUSTED = "127.0.0.7"
VERSIONS = ["-tls1_2", "-tls1_3"]


def certificate(name: str, key: Any) -> Any:
    chain, private = own_certificate(name, key)
    return m.TlsCertificate(
        certificate_chain=m.DataSource(inline_bytes=chain), private_key=m.DataSource(inline_bytes=private)
    )


def secrets() -> dict[str, Any]:
    found = {}
    for name in HOT:
        for what, key in (
            (ECDSA, ec.generate_private_key(ec.SECP256R1())),
            (RSA, rsa.generate_private_key(65537, 2048)),
        ):
            found[secret_of(name, what)] = m.Secret(tls_certificate=certificate(name, key))
        found[secret_of(name, TICKETS)] = sessions(os.urandom(80))
    authority = m.CertificateValidationContext(trusted_ca=m.DataSource(inline_string=OURS.pem))
    found[secret_of("asking.example", AUTHORITY)] = m.Secret(validation_context=authority)
    return found


def sessions(*keys: bytes) -> Any:
    return m.Secret(session_ticket_keys=m.TlsSessionTicketKeys.FromString(ticket_keys(keys)))


def keep(rig: Rig, name: str, secret: Any) -> None:
    named = m.Secret()
    named.CopyFrom(secret)
    named.name = name
    rig.keep(name, named)


@pytest.fixture(scope="module")
def backend() -> Iterator[ShowingBackend]:
    made = ShowingBackend()
    yield made
    made.close()


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return secrets()


@pytest.fixture(scope="module", autouse=True)
def rigs(backend: ShowingBackend, kept: dict[str, Any]) -> Iterator[list[Rig]]:
    made = []
    for port in PORTS:
        directory = Path(tempfile.mkdtemp(prefix="rig"))
        rig = Rig(directory, {"shop.example": "shop.example"}, drain_seconds=1)
        made.append(rig)
        for name, secret in kept.items():
            keep(rig, name, secret)
        rig.show(state(port, backend))
        assert rig.discovery.refusals == []
    yield made
    for rig in made:
        assert rig.process.poll() is None
        rig.close()
        shutil.rmtree(rig.directory)


def state(port: int, backend: ShowingBackend, **listen: Any) -> Gateway:
    hosts = ["shop.example", *HOT]
    edges = {name: Edge(hot=True) for name in HOT}
    edges["asking.example"] = Edge(ClientCertificates(), hot=True)
    return Gateway(
        Listen(https=f"127.0.0.1:{port}", default_domain="hot.example", trusted_proxies=(f"{TRUSTED}/32",), **listen),
        (Service(name="shown", backends=(f"http://127.0.0.1:{backend.port}",)),),
        tuple(parse(Route, {"name": h, "hosts": [h], "service": "shown"}) for h in hosts),
        domains=dict.fromkeys(hosts, "default"),
        edges=edges,
    )  # fmt: skip


def s_client(port: int, name: str, *more: str | Path, asking: bool = False) -> str:
    """Give what openssl says of a handshake; ``asking``: and of a request, in which TLS 1.3 gives the session."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, *map(str, more)]
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode() if asking else b"Q\n"
    with subprocess.Popen(
        [*command, *(["-ign_eof"] if asking else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        return process.communicate(request, timeout=30)[0].decode(errors="replace")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_visitor_gets_the_certificate_he_can_read(version: str) -> None:
    both, old = "ECDSA+SHA256:RSA-PSS+SHA256", "RSA-PSS+SHA256:RSA+SHA256"

    assert "Server public key is 256 bit" in s_client(PORTS[0], "hot.example", version, "-sigalgs", both)
    assert "Server public key is 2048 bit" in s_client(PORTS[0], "hot.example", version, "-sigalgs", old)
    assert "Server public key is" not in s_client(PORTS[0], "shop.example", version, "-sigalgs", old)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_on_every_node(version: str, tmp_path: Path) -> None:
    session = tmp_path / "session"
    assert "New, TLS" in s_client(PORTS[0], "hot.example", version, "-sess_out", session, asking=True)

    for port in (*PORTS, *PORTS):
        assert "Reused, TLS" in s_client(port, "hot.example", version, "-sess_in", session)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_of_no_use_for_another_name(version: str, tmp_path: Path) -> None:
    session = tmp_path / "session"
    s_client(PORTS[0], "hot.example", version, "-sess_out", session, asking=True)

    assert "New, TLS" in s_client(PORTS[0], "warm.example", version, "-sess_in", session)
    said = s_client(PORTS[0], "asking.example", version, "-sess_in", session, asking=True)
    assert "Reused" not in said and "200 OK" not in said and "alert" in said


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_of_who_showed_a_certificate_is_his_alone(version: str, tmp_path: Path) -> None:
    alice, session = OURS.issue(tmp_path, "alice"), tmp_path / "session"
    shown = ("-cert", alice, "-key", alice)
    said = s_client(PORTS[0], "asking.example", version, *shown, "-sess_out", session, asking=True)
    assert "200 OK" in said and "Hash=" in said

    again = s_client(PORTS[1], "asking.example", version, "-sess_in", session, asking=True)
    assert ("Reused" in again) == ("Hash=" in again) == ("200 OK" in again)


@pytest.mark.parametrize("version", VERSIONS)
def test_keys_rotate_without_a_new_handshake_for_anybody(
    version: str, tmp_path: Path, rigs: list[Rig]
) -> None:
    first, second = os.urandom(80), os.urandom(80)
    name, session = secret_of("warm.example", TICKETS), tmp_path / "session"
    for rig in rigs:
        keep(rig, name, sessions(first))

    def resumed() -> bool:
        return "Reused" in s_client(PORTS[1], "warm.example", version, "-sess_in", session)

    def made(port: int) -> bool:
        s_client(port, "warm.example", version, "-sess_out", session, asking=True)
        return resumed()

    eventually(lambda: made(PORTS[0]))
    keep(rigs[1], name, sessions(second, first))
    assert eventually(resumed)
    keep(rigs[1], name, sessions(second))
    assert eventually(lambda: not resumed())


def eventually(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
    return True


def test_a_renewed_certificate_and_another_hot_name_cut_nobody(
    rigs: list[Rig], backend: ShowingBackend
) -> None:
    def asked(connection: socket.socket, name: str) -> bytes:
        return ask(connection, f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())

    names = ("hot.example", "shop.example")
    connections = {name: connect(PORTS[0], name) for name in names}
    for name in names:
        assert asked(connections[name], name).startswith(b"HTTP/1.1 200")
    before = connections["hot.example"].getpeercert(binary_form=True)
    fresh = certificate("hot.example", ec.generate_private_key(ec.SECP256R1()))
    keep(rigs[0], secret_of("hot.example", ECDSA), m.Secret(tls_certificate=fresh))
    eventually(lambda: peer("hot.example") != before)
    now = state(PORTS[0], backend)
    for edges in ({**now.edges, "shop.example": Edge()}, now.edges):
        rigs[0].show(replace(now, edges={n: e for n, e in edges.items() if n != "warm.example"}))
    rigs[0].show(now)
    assert rigs[0].discovery.refusals == []
    time.sleep(2.5)

    for name in names:
        answer = asked(connections[name], name)
        assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" not in answer.lower(), name
        connections[name].close()


def peer(name: str) -> bytes | None:
    with connect(PORTS[0], name) as connection:
        return connection.getpeercert(binary_form=True)


@pytest.mark.parametrize("source", [None, TRUSTED])
def test_visitors_of_hot_names_hear_of_http3(source: str | None) -> None:
    for name, offered in (("hot.example", True), ("asking.example", False), ("shop.example", False)):
        try:
            with connect(PORTS[0], name, source) as connection:
                answer = ask(connection, f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()).lower()
        except (OSError, ssl.SSLError):
            answer = b""
        assert (f'alt-svc: h3=":{PORTS[0]}"'.encode() in answer) == offered


def test_a_hot_name_is_served_over_http3() -> None:
    forged = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-client-cert", "By=evil"),
        ("x-real-ip", "6.6.6.6"),
    ]
    found = http3.visit(PORTS[0], "hot.example", "hot.example", more=forged)

    assert found is not None and found[0].status == "200"
    shown = found[0].body.lower()
    assert b"x-forwarded-for: 127.0.0.1" in shown and b"x-forwarded-proto: https" in shown
    assert b"6.6.6.6" not in shown and b"evil" not in shown


def test_over_http3_nobody_gets_to_another_host() -> None:
    found = http3.visit(
        PORTS[0], "hot.example", "hot.example", "warm.example", "asking.example", "shop.example"
    )

    assert found is not None
    assert [answer.status for answer in found] == ["200", "421", "421", "421"]
    refused = http3.visit(PORTS[0], "hot.example", "hot.example", more=[("a_b", "1")])
    assert refused is None or refused[0].status != "200"


@pytest.mark.parametrize("name", ["shop.example", "asking.example", "nobody.example"])
def test_other_names_are_not_served_over_http3(name: str) -> None:
    assert http3.visit(PORTS[0], name, name) is None


def test_a_visitor_without_a_name_gets_the_default_domain() -> None:
    with connect(PORTS[0], None) as connection:
        der = connection.getpeercert(binary_form=True)
        assert der is not None and b"hot.example" in der
        assert ask(connection, b"GET / HTTP/1.1\r\nHost: hot.example\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_behind_balancers_that_speak_for_others_there_is_no_http3(backend: ShowingBackend) -> None:
    found = Rig.resources(state(PORTS[0], backend, proxy_protocol=("10.0.0.0/8",)))
    assert not [r for r in found if r.name.startswith("h3 ")]
    assert NO_SNI not in HOT
