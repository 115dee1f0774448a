"""Certificates that visitors show of themselves, on a real Envoy: who is let in, what the backend learns, no way around."""

from __future__ import annotations

import datetime
import json
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from edgeward.gateway.envoy import NO_SNI, Gateway
from edgeward.gateway.envoy.gateway import ClientCertificates, Edge
from edgeward.gateway.envoy.tls import AUTHORITY, secret_of
from edgeward.gateway.model import Listen, Route, Service
from edgeward.node.certificates.listener_secrets import Lasting
from edgeward.node.state import State, Touched, understand
from edgeward.parsing import parse
from edgeward.xds import messages as m
from tests.client_certificates import Authority
from tests.integration.gateway_rig import Rig, ShowingBackend, ask
from tests.ports import free_port

HTTP, HTTPS = free_port(), free_port()
OURS, OTHERS = Authority("ours"), Authority("others")
TRUSTED = "127.0.0.7"


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rig"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def people(directory: Path) -> dict[str, Path]:
    found = {name: OURS.issue(directory, name) for name in ("alice", "mallory")}
    found["late"] = OURS.issue(directory, "late", lifetime=datetime.timedelta(days=-1))
    found["server"] = OURS.issue(directory, "server", server=True)
    found["stranger"] = OTHERS.issue(directory, "stranger")
    return found


NAMES = (
    "private.example",
    "maybe.example",
    "open.example",
    "revoked.example",
    "a.vpn.example",
    "lobby.vpn.example",
)


@pytest.fixture(scope="module")
def rig(directory: Path) -> Iterator[Rig]:
    made = Rig(directory, {**{n: n for n in NAMES}, NO_SNI: "private.example"}, drain_seconds=1)
    yield made
    assert made.process.poll() is None
    made.close()


def secret(domain: str, ca: str, crl: str | None = None) -> Any:
    """Give the secret as the node makes it of a declared domain."""
    state, value = State(), {"name": domain, "client_certificates": {"ca": ca, "crl": crl}}
    state.put("domains", "default", domain, understand("domains", value), Touched())
    found = Lasting(state, lambda name: None).secret(secret_of(domain, AUTHORITY))
    assert found is not None
    return m.Secret.FromString(found.body)


@pytest.fixture(scope="module", autouse=True)
def state(rig: Rig, people: dict[str, Path]) -> Iterator[Gateway]:
    backend = ShowingBackend()
    everything = ("subject", "dns", "uri", "certificate", "chain")
    edges = {
        "private.example": Edge(ClientCertificates(required=True, forward=("subject",))),
        "maybe.example": Edge(ClientCertificates(required=False, forward=everything)),
        "revoked.example": Edge(ClientCertificates(required=True, forward=("dns",))),
        "*.vpn.example": Edge(ClientCertificates(required=True, forward=())),
    }
    for domain in edges:
        crl = OURS.revoking([people["mallory"]]) if domain == "revoked.example" else None
        rig.keep(secret_of(domain, AUTHORITY), secret(domain, OURS.pem, crl))
    edges |= {
        "deep.b.cafe.example": Edge(ClientCertificates()),
        "own.cafe.example": Edge(ClientCertificates()),
    }
    hosts = ["private.example", "maybe.example", "open.example", "revoked.example", "*.vpn.example"]
    made = Gateway(
        Listen(http=f"127.0.0.1:{HTTP}", https=f"127.0.0.1:{HTTPS}", default_domain="private.example", trusted_proxies=(f"{TRUSTED}/32",)),
        (Service(name="shown", backends=(f"http://127.0.0.1:{backend.port}",)),),
        (
            *(parse(Route, {"name": h.replace("*", "any"), "hosts": [h], "service": "shown"}) for h in hosts),
            parse(Route, {"name": "cafe", "hosts": ["*.cafe.example"], "service": "shown", "http": "serve"}),
            parse(Route, {"name": "own", "hosts": ["own.cafe.example"], "service": "shown", "paths": ["/own"]}),
        ),
        domains=dict.fromkeys([*hosts, *edges, "lobby.vpn.example"], "default"),
        edges=edges,
    )  # fmt: skip
    rig.show(made)
    assert rig.discovery.refusals == []
    yield made
    backend.close()


def visit(
    name: str | None,
    certificate: Path | None = None,
    host: str | None = None,
    source: str | None = None,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> tuple[str, str]:
    """Give status and X-Forwarded-Client-Cert of a visit with forged ones; ``refused`` where TLS ended it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    if certificate is not None:
        context.load_cert_chain(certificate)
    host = host or name
    forged = 'X-Forwarded-Client-Cert: Hash=forged;Subject="CN=admin"\r\nx-forwarded-CLIENT-cert: By=evil'
    plain = socket.create_connection(
        ("127.0.0.1", HTTPS), timeout=30, source_address=(source, 0) if source else None
    )
    try:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            answer = ask(connection, f"GET / HTTP/1.1\r\nHost: {host}\r\n{forged}\r\n\r\n".encode()).decode()
    except OSError:
        plain.close()
        return "refused", ""
    if not answer:
        return "refused", ""  # TLS 1.3: the handshake is over for the visitor before his certificate is read
    lines = [
        x.partition(": ")[2] for x in answer.split("\r\n") if x.lower().startswith("x-forwarded-client-cert")
    ]
    assert len(lines) <= 1 and "forged" not in answer and "evil" not in answer and "CN=admin" not in answer
    return answer.split(" ")[1], "".join(lines)


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("source", [None, TRUSTED])
def test_only_certificates_of_the_named_authority_are_let_in(
    people: dict[str, Path], version: ssl.TLSVersion, source: str | None
) -> None:
    status, said = visit("private.example", people["alice"], source=source, version=version)
    assert status == "200"
    assert 'Subject="CN=alice"' in said and said.startswith("Hash=") and "Cert=" not in said

    for who in (None, people["stranger"], people["late"], people["server"]):
        assert visit("private.example", who, source=source, version=version) == ("refused", ""), who
    for spelled in ("PRIVATE.example", "private.example."):
        assert visit(spelled, None, host="private.example", source=source, version=version) == ("refused", "")
        assert visit(spelled, people["alice"], host="private.example", source=source)[0] == "200"


@pytest.mark.parametrize("version", VERSIONS)
def test_where_none_is_required_a_visitor_without_is_told_from_one_with(
    people: dict[str, Path], version: ssl.TLSVersion
) -> None:
    assert visit("maybe.example", version=version) == ("200", "")
    status, said = visit("maybe.example", people["alice"], version=version)
    assert status == "200"
    for part in ('Subject="CN=alice"', "DNS=alice.people.example", "URI=urn:alice", "Cert=", "Chain="):
        assert part in said
    assert visit("maybe.example", people["stranger"], version=version) == ("refused", "")


def test_nobody_forges_the_header_where_no_certificate_is_asked_for(people: dict[str, Path]) -> None:
    for who in (None, people["alice"]):
        for source in (None, TRUSTED):
            assert visit("open.example", who, source=source) == ("200", "")


def test_a_revoked_certificate_is_refused(people: dict[str, Path]) -> None:
    assert visit("private.example", people["mallory"])[0] == "200"
    assert visit("revoked.example", people["mallory"]) == ("refused", "")
    assert visit("revoked.example", people["alice"])[0] == "200"


def test_a_wildcard_asks_for_each_name_it_covers_and_not_for_a_name_of_its_own(
    people: dict[str, Path],
) -> None:
    assert visit("a.vpn.example") == ("refused", "")
    assert visit("a.vpn.example", people["alice"])[0] == "200"
    assert visit("a.b.vpn.example", people["alice"]) == ("refused", "")
    # a domain of its own decides for itself: no certificate is asked for, and what is behind one is not served
    assert visit("lobby.vpn.example")[0] == "404"


def test_a_visitor_without_a_name_is_held_to_the_default_domain(people: dict[str, Path]) -> None:
    assert visit(None, host="private.example") == ("refused", "")
    assert visit(None, people["alice"], host="private.example")[0] == "200"


@pytest.mark.parametrize(
    "host", ["private.example", "PRIVATE.EXAMPLE", "private.example.", "private.example:443", "a.vpn.example"]
)
def test_nobody_gets_there_through_another_hosts_connection(people: dict[str, Path], host: str) -> None:
    for name in ("open.example", "maybe.example", "lobby.vpn.example"):
        assert visit(name, None, host=host)[0] == "421"
    assert visit("maybe.example", people["alice"], host=host)[0] == "421"


def test_a_coalesced_http2_connection_gets_no_further() -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", HTTPS), timeout=30)
    found: dict[int, str] = {}
    with context.wrap_socket(plain, server_hostname="open.example") as connection:
        visitor = h2.connection.H2Connection(h2.config.H2Configuration())
        visitor.initiate_connection()
        for stream, host in (
            (1, "open.example"),
            (3, "private.example"),
            (5, "open.example"),
            (7, "a.vpn.example"),
        ):
            headers = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")]
            visitor.send_headers(stream, headers, end_stream=True)
        connection.sendall(visitor.data_to_send())
        while len(found) < 4 and (data := connection.recv(65536)):
            for event in visitor.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    found[event.stream_id] = dict(event.headers)[b":status"].decode()
    assert found == {1: "200", 3: "421", 5: "200", 7: "421"}


def test_over_plain_http_nothing_is_served_that_asks_for_a_certificate() -> None:
    found = {}
    for host in ("b.cafe.example", "own.cafe.example", "deep.b.cafe.example", "private.example"):
        with socket.create_connection(("127.0.0.1", HTTP), timeout=30) as connection:
            found[host] = ask(connection, f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).split(b" ")[1]
    assert found == {
        "b.cafe.example": b"200",
        "own.cafe.example": b"308",
        "deep.b.cafe.example": b"308",
        "private.example": b"308",
    }


def test_names_that_harm_envoy_do_not_get_to_the_selector(rig: Rig) -> None:
    for name in ("xdstp://x", "*.vpn.example", "x/y.vpn.example", "a b.vpn.example"):
        assert visit(name, None, host="private.example") == ("refused", "")
    assert rig.process.poll() is None


def test_the_log_says_why_a_visitor_was_refused(rig: Rig, people: dict[str, Path]) -> None:
    visit("private.example")
    visit("private.example", people["stranger"])

    def reasons() -> str:
        lines = [json.loads(line) for line in rig.access_log.read_text().splitlines()]
        return " ".join(
            x["failure"] for x in lines if x.get("protocol") == "TLS" and x.get("sni") == "private.example"
        )

    eventually(lambda: "PEER_DID_NOT_RETURN_A_CERTIFICATE" in reasons())
    eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in reasons())


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_another_authority_or_domain_cuts_nobody_else(
    rig: Rig, state: Gateway, people: dict[str, Path]
) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(people["alice"])
    kept = {
        name: context.wrap_socket(
            socket.create_connection(("127.0.0.1", HTTPS), timeout=30), server_hostname=name
        )
        for name in ("open.example", "private.example", "maybe.example")
    }
    for name, connection in kept.items():
        assert ask(connection, f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()).startswith(b"HTTP/1.1 200")
    rig.keep(secret_of("maybe.example", AUTHORITY), secret("maybe.example", OTHERS.pem))
    eventually(lambda: visit("maybe.example", people["stranger"])[0] == "200")
    more = {**state.edges, "new.example": Edge(ClientCertificates())}
    rig.keep(secret_of("new.example", AUTHORITY), secret("new.example", OURS.pem))
    for edges in (more, state.edges, more):
        rig.show(replace(state, edges=edges))
        assert rig.discovery.refusals == []
    time.sleep(2.5)  # twice the drain time, so that what is cut is gone

    for name, connection in kept.items():
        answer = ask(connection, f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" not in answer.lower(), name
        connection.close()
    assert visit("maybe.example", people["alice"]) == ("refused", "")
    rig.keep(secret_of("maybe.example", AUTHORITY), secret("maybe.example", OURS.pem))
    rig.show(state)


def test_an_authority_envoy_cannot_read_closes_that_host_only(
    rig: Rig, state: Gateway, people: dict[str, Path]
) -> None:
    name = secret_of("revoked.example", AUTHORITY)
    good = rig.discovery.lasting[name]
    bad = m.Secret(
        name=name,
        validation_context=m.CertificateValidationContext(trusted_ca=m.DataSource(inline_string="x")),
    )
    rig.keep(name, bad)
    eventually(lambda: bool(rig.discovery.refusals))
    rig.discovery.refusals.clear()

    assert visit("private.example", people["alice"])[0] == "200"
    assert visit("revoked.example", people["mallory"]) == ("refused", "")
    rig.keep(name, good)
