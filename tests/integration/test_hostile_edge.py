"""The edge under visitors who mean harm: HTTP/2 and HTTP/1.1 made by hand, paths, TLS, files and floods."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from edgeward.cli.demo.visit import trusting, visit
from edgeward.gateway.envoy import Gateway
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, connect
from tests.integration.up_rig import Edge, started
from tests.patience import PATIENCE
from tests.ports import free_port

HTTP, HTTPS = free_port(), free_port()
Headers = list[tuple[str, str]]


@pytest.fixture(scope="module")
def backend() -> Iterator[ShowingBackend]:
    shown = ShowingBackend()
    yield shown
    shown.close()


@pytest.fixture(scope="module", autouse=True)
def rig(backend: ShowingBackend) -> Iterator[Rig]:
    directory = Path(tempfile.mkdtemp(prefix="rig"))
    names = ["shop.example", "blog.example", "a.customers.example", "x.deep.customers.example"]
    made = Rig(directory, {name: name for name in names})
    said: list[dict[str, Any]] = [
        {"hosts": ["shop.example", "*.customers.example"], "service": "shown"},
        {"hosts": ["shop.example"], "paths": ["/api"], "service": "shown", "strip_path": True},
        {"hosts": ["shop.example"], "paths": ["/admin"], "redirect": {"path": "/no"}},
        {"hosts": ["blog.example"], "service": "shown", "http": "serve"},
    ]
    made.show(
        Gateway(
            Listen(
                http=f"127.0.0.1:{HTTP}",
                https=f"127.0.0.1:{HTTPS}",
                limits={"request_body_bytes": "1m"},
            ),
            (Service(name="shown", backends=(f"http://127.0.0.1:{backend.port}",)),),
            tuple(parse(Route, one) for one in said),
            domains={"*.customers.example": "default", "*.deep.customers.example": "other"},
        )
    )
    assert made.discovery.refusals == []
    yield made
    assert made.process.poll() is None
    made.close()
    shutil.rmtree(directory)


# --- HTTP/2 -----------------------------------------------------------------------------------


def over_h2(headers: Headers, body: bytes | None = None) -> str:
    """Send one request as it is said, checked by nobody; give its status, or how it ended."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    unchecked = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False
    )
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", HTTPS), timeout=30), server_hostname="shop.example"
    ) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        h2_connection = h2.connection.H2Connection(unchecked)
        h2_connection.initiate_connection()
        h2_connection.send_headers(1, headers, end_stream=body is None)
        if body is not None:
            h2_connection.send_data(1, body, end_stream=True)
        connection.sendall(h2_connection.data_to_send())
        try:
            while data := connection.recv(65536):
                for event in h2_connection.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        return str(dict(event.headers)[b":status"].decode())
                    if isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                        return "ended"
        except OSError:
            pass
    return "ended"


def said(*more: tuple[str, str], **changed: str) -> Headers:
    plain = {":method": "GET", ":scheme": "https", ":authority": "shop.example", ":path": "/"}
    return [*{**plain, **{f":{k}": v for k, v in changed.items()}}.items(), *more]


# fmt: off
REFUSED_H2: dict[str, tuple[Headers, str]] = {
    "another authority": (said(authority="blog.example"), "421"),
    "another authority, the right host": (said(("host", "shop.example"), authority="blog.example"), "421"),
    "another host only": ([h for h in said(("host", "blog.example")) if h[0] != ":authority"], "421"),
    "two names in authority": (said(authority="shop.example,blog.example"), "421"),
    "two authorities": ([*said()[:3], (":authority", "blog.example"), (":path", "/")], "ended"),
    "two hosts": (said(("host", "shop.example"), ("host", "blog.example")), "ended"),
    "user in authority": (said(authority="a@shop.example"), "ended"),
    "space in authority": (said(authority="shop.example "), "ended"),
    "absolute path": (said(path="https://blog.example/"), "ended"),
    "no path": (said(path=""), "ended"),
    "star": (said(path="*"), "ended"),
    "path without slash": (said(path="x"), "ended"),
    "fragment": (said(path="/a#b"), "400"),
    "line in path": (said(path="/ HTTP/1.1\r\nhost: evil"), "ended"),
    "space in path": (said(path="/a HTTP/1.1"), "ended"),
    "line in scheme": (said(scheme="https\r\nx: y"), "ended"),
    "no scheme": ([h for h in said() if h[0] != ":scheme"], "ended"),
    "pseudo header late": (said(("x", "1"), (":path", "/admin")), "ended"),
    "unknown pseudo header": ([(":evil", "1"), *said()], "ended"),
    "upper case": (said(("X-Upper", "1")), "ended"),
    "line in value": (said(("x", "a\r\nhost: evil")), "ended"),
    "nul in value": (said(("x", "a\0b")), "ended"),
    "line in name": (said(("x\ny", "1")), "ended"),
    "colon in name": (said(("x: y", "1")), "ended"),
    "underscore": (said(("a_b", "1")), "ended"),
    "connection": (said(("connection", "close")), "ended"),
    "upgrade": (said(("upgrade", "websocket")), "ended"),
    "transfer-encoding": (said(("transfer-encoding", "chunked"), method="POST"), "ended"),
    "te": (said(("te", "gzip")), "ended"),
    "method with a line": (said(method="GET / HTTP/1.1\r\nx: y"), "ended"),
    "TRACE": (said(method="TRACE"), "405"),
    "trace": (said(method="trace"), "405"),
    "CONNECT": ([(":method", "CONNECT"), (":authority", "shop.example:443")], "405"),
    "extended CONNECT": (said((":protocol", "websocket"), method="CONNECT"), "ended"),
}
# fmt: on


@pytest.fixture(scope="module")
def smuggled(backend: ShowingBackend, rig: Rig) -> tuple[dict[str, str], list[bytes]]:
    """Give what came of each of them, and what the backend saw; Envoy takes a second to end a connection."""
    before = len(backend.heads)
    with ThreadPoolExecutor(len(REFUSED_H2)) as threads:
        outcomes = threads.map(over_h2, (headers for headers, _ in REFUSED_H2.values()))
        found = dict(zip(REFUSED_H2, outcomes, strict=True))
    return found, backend.heads[before:]


@pytest.mark.parametrize("what", REFUSED_H2)
def test_http2_made_to_smuggle_never_reaches_a_backend(
    what: str, smuggled: tuple[dict[str, str], list[bytes]]
) -> None:
    outcomes, seen = smuggled

    assert outcomes[what] == REFUSED_H2[what][1]
    assert seen == []


def test_a_length_that_is_not_the_bodys_ends_the_stream_and_leaves_the_backend_no_rest(
    backend: ShowingBackend,
) -> None:
    assert over_h2(said(("content-length", "3"), method="POST"), b"hello GET /evil") == "ended"
    assert over_h2(said()) == "200"
    assert not any(b"/evil" in head.partition(b"\r\n")[0] for head in backend.heads)


@pytest.mark.parametrize(
    "headers",
    [
        said(),
        said(("host", "blog.example")),
        said(scheme="http"),
        said(scheme="ftp"),
        said(authority="SHOP.example.:99"),
        said(("te", "trailers")),
    ],
    ids=str,
)
def test_http2_that_is_served_reaches_the_backend_under_the_name_in_sni(
    headers: Headers, backend: ShowingBackend
) -> None:
    assert over_h2(headers) == "200"
    head = backend.heads[-1].lower().split(b"\r\n")
    assert next(line for line in head if line.startswith(b"host:")) == b"host: shop.example"
    assert b"x-forwarded-proto: https" in head
    assert b"blog.example" not in b" ".join(head)


def test_what_strangers_say_of_their_origin_over_http2_is_forgotten(backend: ShowingBackend) -> None:
    names = (
        "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-scheme", "x-forwarded-ssl",
        "x-forwarded-prefix", "x-forwarded-client-cert", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-cluster-client-ip",
        "x-original-forwarded-for", "x-original-host", "x-original-url", "x-rewrite-url", "x-envoy-original-path", "x-envoy-external-address",
        "x-envoy-internal", "x-envoy-original-host",
    )  # fmt: skip
    assert over_h2(said(*((name, "6.6.6.6") for name in names), ("x-honest", "kept"))) == "200"

    assert b"x-honest: kept" in backend.heads[-1]
    assert b"6.6.6.6" not in backend.heads[-1]


# --- HTTP/1.1 ---------------------------------------------------------------------------------


def first_line(path: str, backend: ShowingBackend) -> str:
    """Give the backend's request line, or the status visitors got instead."""
    before = len(backend.heads)
    with connect(HTTPS) as connection:
        answer = ask(connection, f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode("latin-1"))
    if len(backend.heads) > before:
        return backend.heads[-1].partition(b"\r\n")[0].decode("latin-1")
    return answer[9:12].decode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api", "GET / HTTP/1.1"),
        ("/api/x", "GET /x HTTP/1.1"),
        ("/api?next=//evil", "GET /?next=//evil HTTP/1.1"),
        ("/api//evil.example", "GET /evil.example HTTP/1.1"),
        ("/api/\\evil.example", "GET /evil.example HTTP/1.1"),
        ("/%61pi/x", "GET /x HTTP/1.1"),
        ("//api/x", "GET /x HTTP/1.1"),
        ("/api/../admin", "301"),
        ("/api/%2e%2e/admin", "301"),
        ("/api/.%2E/admin", "301"),
        ("/api/..\\admin", "301"),
        ("/api/x/../../admin", "301"),
        ("/./admin", "301"),
        ("/api/%00", "400"),
        ("/api/\x7f", "400"),
        ("/api#x", "400"),
        ("*", "400"),
    ],
)
def test_tricks_with_paths_lead_where_the_plain_path_leads(
    path: str, expected: str, backend: ShowingBackend
) -> None:
    assert first_line(path, backend) == expected


@pytest.mark.parametrize(
    ("host", "expected"), [("shop.example", b"101"), ("blog.example", b"421"), ("shop.example,x", b"421")]
)
def test_websockets_pass_the_same_denials(host: str, expected: bytes) -> None:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13"
    with connect(HTTPS) as connection:
        assert (
            ask(connection, f"GET / HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n\r\n".encode())[9:12] == expected
        )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.customers.example", b"308"),
        ("A.Customers.Example.:80", b"308"),
        ("a@b.customers.example", b"400"),
        ("[::1].customers.example", b"400"),
        ("%0d%0a.customers.example", b"400"),
        ("*.customers.example", b"400"),
        ("evil.example/.customers.example", b"400"),
        ("evil.example?.customers.example", b"400"),
        ("a_b.customers.example", b"400"),
        ("x.deep.customers.example", b"308"),
    ],
)
def test_plain_http_says_no_strange_host_back(host: str, expected: bytes) -> None:
    with socket.create_connection(("127.0.0.1", HTTP), timeout=30) as connection:
        answer = ask(connection, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert answer[9:12] == expected
    assert expected == b"308" or b"location" not in answer.lower()


def test_another_projects_domain_below_a_wildcard_is_not_caught_by_it(backend: ShowingBackend) -> None:
    before = len(backend.heads)
    with connect(HTTPS, "x.deep.customers.example") as connection:
        answer = ask(connection, b"GET / HTTP/1.1\r\nHost: x.deep.customers.example\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 404")
    assert len(backend.heads) == before


# --- TLS --------------------------------------------------------------------------------------

_MODERN = (
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
)  # fmt: skip


def handshake(version: ssl.TLSVersion, ciphers: str | None = None) -> str | None:
    """Give the cipher two sides agree on, None where they do not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{ciphers or 'ALL'}:@SECLEVEL=0")
    try:
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", HTTPS), timeout=30), server_hostname="shop.example"
        ) as connection:
            agreed = connection.cipher()
            return agreed[0] if agreed else None
    except (ssl.SSLError, OSError):
        return None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_edge_speaks_what_mozilla_calls_intermediate_and_nothing_else() -> None:
    assert handshake(ssl.TLSVersion.TLSv1) is None
    assert handshake(ssl.TLSVersion.TLSv1_1) is None
    assert handshake(ssl.TLSVersion.TLSv1_3) is not None
    every = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    every.set_ciphers("ALL:eNULL:@SECLEVEL=0")
    offered = [c["name"] for c in every.get_ciphers() if c["protocol"] != "TLSv1.3"]
    assert len(offered) > 40
    taken = {name for name in offered if handshake(ssl.TLSVersion.TLSv1_2, name)}
    assert taken == set(_MODERN)


# --- the whole edge ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with started() as found:
        yield found


def test_everything_the_edge_keeps_is_for_its_owner(edge: Edge) -> None:
    paths = [edge.state, *edge.state.rglob("*")]
    assert {"admin.sock", "xds.sock", "node.sock", "last-good.db", "identity.json"} <= {p.name for p in paths}
    others = [str(p) for p in paths if p.stat().st_mode & 0o077 and p.name != "root.pem"]
    assert others == []


def test_no_program_of_the_edge_writes_cores(edge: Edge) -> None:
    for name, pid in zip(("controller", "node", "launcher", "envoy"), edge.pids(), strict=True):
        if name == "launcher":
            continue  # holds no key
        limits = Path(f"/proc/{pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"], name


async def test_no_key_of_the_edge_is_where_it_does_not_belong(edge: Edge) -> None:
    trust = trusting(edge.state / "ca/root.pem")
    assert (await visit(edge.https, "canary.customers.example", "/", trust, timeout=30)).status == 200
    identity = json.loads((edge.state / "node/identity.json").read_text())
    secrets = [identity["token"].split("_", 2)[2].encode(), (edge.state / "seal.key").read_bytes()]
    secrets += [(edge.state / "admin.token").read_text().strip().split("_", 2)[2].encode()]
    own = {"admin.token", "seal.key", "identity.json", "key.pem"}
    places = {str(p): p.read_bytes() for p in edge.state.rglob("*") if p.is_file() and p.name not in own}
    places["log"] = edge.process.output().encode()
    for pid in edge.pids():
        places[f"cmdline of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
        places[f"environment of {pid}"] = Path(f"/proc/{pid}/environ").read_bytes()

    assert b"canary.customers.example" in places["log"]
    assert [place for place, text in places.items() if any(s in text for s in secrets)] == []
    assert [place for place, text in places.items() if b"PRIVATE KEY" in text] == []


# --- floods: behind make test-all ---------------------------------------------------------------


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def connections(port: int) -> int:
    """Count the established connections to a local port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "flag"), [("headers", "-H"), ("body", "-B"), ("read", "-X")])
def test_a_thousand_slow_visitors_keep_nobody_out(mode: str, flag: str, needs: Callable[[str], str]) -> None:
    program = needs("slowhttptest")
    options = ["-c", "1000", "-r", "500", "-i", "5", "-l", "20", "-p", "3"]
    attack = subprocess.Popen(
        [program, flag, *options, "-u", "http://blog.example/", "-d", f"127.0.0.1:{HTTP}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(4)
        assert connections(HTTP) > 500
        for _ in range(20):
            begun = time.monotonic()
            with connect(HTTPS) as connection:
                assert ask(connection, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")[9:12] == b"200"
            assert time.monotonic() - begun < 2 * PATIENCE
            time.sleep(0.2)
    finally:
        attack.terminate()
        attack.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_idle_visitors_cost_little_and_keep_nobody_out(rig: Rig) -> None:
    wanted, at_once = 10_000, 50
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted + 1000:
        pytest.skip(f"the limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 1000), hard))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before, places = resident_mb(rig.process.pid), asyncio.Semaphore(at_once)

    async def idle() -> Any:
        async with places:
            return await asyncio.open_connection(
                "127.0.0.1", HTTPS, ssl=context, server_hostname="shop.example", ssl_handshake_timeout=30
            )

    opened = await asyncio.gather(*(idle() for _ in range(wanted)), return_exceptions=True)
    try:
        failed = [one for one in opened if isinstance(one, BaseException)]
        assert failed == []
        assert resident_mb(rig.process.pid) - before < 40 * wanted / 1024
        begun = time.monotonic()
        answer = await asyncio.to_thread(first_status)
        assert (answer, time.monotonic() - begun < 2 * PATIENCE) == (b"200", True)
    finally:
        for one in opened:
            if not isinstance(one, BaseException):
                one[1].transport.abort()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def first_status() -> bytes:
    with connect(HTTPS) as connection:
        return ask(connection, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")[9:12]
