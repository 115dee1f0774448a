"""What the translated configuration does in a real Envoy: routing, headers, and what must be refused."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeward.gateway.envoy import NO_SNI, Gateway
from edgeward.gateway.model import Backend, Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ShowingBackend, ask, connect
from tests.ports import free_port

HTTP, HTTPS = free_port(), free_port()


@pytest.fixture(scope="module")
def backend() -> Iterator[ShowingBackend]:
    shown = ShowingBackend()
    yield shown
    shown.close()


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    directory = Path(tempfile.mkdtemp(prefix="rig"))
    names = ["shop.example", "a.customers.example", "api.example", "strip.example", "moved.example"]
    found = Rig(directory, {**{n: n for n in names}, NO_SNI: "shop.example"})
    yield found
    found.close()
    shutil.rmtree(directory)


def routes() -> tuple[Route, ...]:
    said: list[dict[str, Any]] = [
        {"hosts": ["shop.example"], "service": "shown", "hsts": True},
        {"hosts": ["*.customers.example"], "service": "shown", "paths": ["/"]},
        {"hosts": ["api.example"], "service": "shown", "paths": ["/"], "response_headers": {"set": {"x-is": "prefix"}}},
        {"hosts": ["api.example"], "service": "shown", "paths": ["=/exact"], "response_headers": {"set": {"x-is": "exact"}}},
        {"hosts": ["api.example"], "service": "shown", "paths": ["~/item/[0-9]+"], "response_headers": {"set": {"x-is": "regex"}}},
        {"hosts": ["api.example"], "service": "shown", "paths": ["/long"], "response_headers": {"set": {"x-is": "long"}}},
        {"hosts": ["api.example"], "service": "shown", "paths": ["/long"], "methods": ["PUT", "POST"], "response_headers": {"set": {"x-is": "method"}}},
        {"hosts": ["api.example"], "service": "shown", "paths": ["/long"], "headers": {"X-Version": "2"}, "response_headers": {"set": {"x-is": "header"}}},
        {"hosts": ["api.example"], "service": "gone", "paths": ["/gone"]},
        {"hosts": ["strip.example"], "service": "shown", "paths": ["/api"], "strip_path": True, "http": "serve", "preserve_host": False,
         "request_headers": {"set": {"x-set": "100%"}, "add": {"x-add": "2"}, "remove": ["x-secret"]}},
        {"hosts": ["strip.example"], "service": "shown", "paths": ["/api/private"], "http": "refuse"},
        {"hosts": ["moved.example"], "redirect": {"host": "shop.example", "status": 302}, "http": "refuse"},
        {"hosts": ["moved.example"], "paths": ["/there"], "redirect": {"path": "/100%25"}, "http": "serve"},
        {"hosts": ["moved.example"], "paths": ["/safe"], "redirect": {"scheme": "https"}, "http": "serve"},
    ]  # fmt: skip
    return tuple(parse(Route, one) for one in said)


@pytest.fixture(scope="module")
def listen() -> Listen:
    return Listen(
        http=f"127.0.0.1:{HTTP}",
        https=f"127.0.0.1:{HTTPS}",
        default_domain="shop.example",
        trusted_proxies=("127.0.0.2/32",),
        limits={"request_timeout": "2s", "header_timeout": "1s"},
    )


@pytest.fixture(scope="module", autouse=True)
def gateway(rig: Rig, backend: ShowingBackend, listen: Listen) -> Gateway:
    shown = Service(name="shown", backends=(f"http://127.0.0.1:{backend.port}",))
    gone = Service(name="gone", backends=(f"http://127.0.0.1:{free_port()}",))
    state = Gateway(listen, (shown, gone), routes())
    rig.show(state)
    assert rig.discovery.refusals == []
    return state


def request(target: str = "/", host: str | None = "shop.example", *lines: str, method: str = "GET") -> bytes:
    head = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def visit(data: bytes, name: str | None = "shop.example", source: str | None = None) -> tuple[int, bytes]:
    with connect(HTTPS, name, source) as connection:
        return split(ask(connection, data))


def visit_plain(data: bytes) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", HTTP), timeout=30) as connection:
        return split(ask(connection, data))


def split(answer: bytes) -> tuple[int, bytes]:
    return (int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0), answer.lower()


def test_the_backend_sees_the_visitor_and_nothing_a_stranger_made_up() -> None:
    forged = [
        "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: http", "X-Forwarded-Host: evil.example", "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6", "X-Envoy-Retry-On: 5xx", "X-Envoy-Upstream-Rq-Timeout-Ms: 1", "X-Forwarded-Client-Cert: By=evil",
        "X-Envoy-Original-Path: /evil", "X-Envoy-Original-Host: evil", "X-Envoy-Attempt-Count: 6", "X-Envoy-Internal: true",
        "X-Envoy-External-Address: 6.6.6.6", "X-Envoy-Expected-Rq-Timeout-Ms: 6", "X-Envoy-Decorator-Operation: evil",
        "X-Envoy-Force-Trace: 1", "X-Envoy-Ip-Tags: evil", "X-Forwarded-Port: 666", "True-Client-Ip: 6.6.6.6",
    ]  # fmt: skip
    status, answer = visit(request("/", "shop.example", *forged))

    assert status == 200
    assert b"6.6.6.6" not in answer and b"evil" not in answer and b"x-envoy" not in answer
    for line in (
        b"x-forwarded-for: 127.0.0.1",
        b"x-forwarded-proto: https",
        f"x-forwarded-port: {HTTPS}".encode(),
    ):
        assert answer.count(line) == 1
    assert b"x-real-ip" not in answer and b"x-forwarded-host" not in answer


def test_a_trusted_proxy_is_believed_about_its_visitor() -> None:
    status, answer = visit(request("/", "shop.example", "X-Forwarded-For: 6.6.6.6"), source="127.0.0.2")

    assert status == 200
    assert b"x-forwarded-for: 6.6.6.6,127.0.0.2" in answer


@pytest.mark.parametrize(
    "host", ["shop.example", "SHOP.example", "shop.example:PORT", "shop.example.", "shop.example.:1"]
)
def test_spellings_of_the_host_that_mean_the_name_in_sni_are_served(host: str) -> None:
    assert visit(request("/", host.replace("PORT", str(HTTPS))))[0] == 200


@pytest.mark.parametrize("name", ["SHOP.Example", "shop.example."])
def test_spellings_of_sni_are_served(name: str) -> None:
    assert visit(request(), name)[0] == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/", "a.customers.example"), 421),
        (request("/", "api.example"), 421),
        (request("/nowhere", "strip.example"), 421),
        (request("/", "nobody.example"), 421),
        (request("http://a.customers.example/", "shop.example"), 421),
        (request("http://api.example/", "shop.example"), 421),
        (b"GET / HTTP/1.1\r\nHost: shop.example\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: shop.example\r\nHost: shop.example\r\n\r\n", 421),
        (request("/", "shop.example.evil.example"), 421),
        (request("/", "shop.example,shop.example"), 421),
        (request(method="TRACE"), 405),
        (request("shop.example:443", method="CONNECT"), 405),
        (request("/", None), 400),
        (request("/", "shop.example", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        (request("/", "shop.example", "Content-Length: 5", "Content-Length: 6"), 400),
        (request("/", "shop.example", "Content-Length: +5"), 400),
        (request("/", "shop.example", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 501),
        (request("/", "shop.example", "X: a\0b"), 400),
        (request("/", "shop.example", "under_score: 1"), 400),
        (request("/", "shop.example", "X: " + "y" * 70_000), 431),
        (request("/", "shop.example", *(f"X-{i}: 1" for i in range(120))), 431),
        (b"GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n", 426),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + request(), 400),
    ],
)  # fmt: skip
def test_hostile_requests_are_refused_and_never_reach_a_backend(
    data: bytes, status: int, backend: ShowingBackend
) -> None:
    before = len(backend.heads)

    assert visit(data)[0] == status
    assert len(backend.heads) == before


def test_folded_lines_and_bare_returns_never_reach_a_backend() -> None:
    data = b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-A: b\r\n c: d\r\nX-C: a\rb\r\n\r\n"
    with connect(HTTPS) as connection:
        body = ask(connection, data).partition(b"\r\n\r\n")[2]

    assert b"\r\n " not in body and b"\r" not in body.replace(b"\r\n", b"")


def test_a_visitor_without_sni_gets_the_default_domain_and_no_other() -> None:
    assert visit(request(), None)[0] == 200
    assert visit(request("/", "a.customers.example"), None)[0] == 421


def test_an_unknown_name_fails_in_the_handshake() -> None:
    with pytest.raises(ssl.SSLError):
        connect(HTTPS, "unknown.example")


@pytest.mark.parametrize(
    ("target", "method", "lines", "chosen"),
    [
        ("/", "GET", (), b"prefix"),
        ("/exact", "GET", (), b"exact"),
        ("/exact/more", "GET", (), b"prefix"),
        ("/item/42", "GET", (), b"regex"),
        ("/item/42x", "GET", (), b"prefix"),
        ("/long/er?q", "GET", (), b"long"),
        ("/longer", "GET", (), b"prefix"),
        ("/long", "PUT", (), b"method"),
        ("/long", "GET", ("X-Version: 2",), b"header"),
        ("/long", "GET", ("X-Version: 20",), b"long"),
        ("/a/../exact", "GET", (), b"exact"),
        ("//exact", "GET", (), b"exact"),
    ],
)
def test_the_most_particular_route_is_chosen(
    target: str, method: str, lines: tuple[str, ...], chosen: bytes
) -> None:
    status, answer = visit(request(target, "api.example", *lines, method=method), "api.example")

    assert status == 200 and b"x-is: " + chosen in answer


def test_a_stripped_path_and_changed_headers_reach_the_backend() -> None:
    data = request("/api/x?q=1", "strip.example", "X-Secret: 1", "X-Add: 1", "X-Set: 0")
    status, answer = visit(data, "strip.example")

    assert status == 200 and b"get /x?q=1 http/1.1" in answer and b"\r\nhost: 127.0.0.1" in answer
    assert b"x-forwarded-host: strip.example" in answer
    assert b"x-set: 100%" in answer and b"x-add: 1" in answer and b"x-add: 2" in answer
    assert b"x-secret" not in answer
    assert b"get / http/1.1" in visit(request("/api", "strip.example"), "strip.example")[1]


def test_plain_http_redirects_serves_or_refuses_as_the_route_says() -> None:
    status, answer = visit_plain(request("/q?x=1"))
    assert status == 308 and f"location: https://shop.example:{HTTPS}/q?x=1".encode() in answer
    assert visit_plain(request("/api/1", "strip.example"))[0] == 200
    assert visit_plain(request("/", "moved.example"))[0] == 404
    status, answer = visit_plain(request("/api/private/1", "strip.example"))
    assert status == 404 and b"404 not found" in answer
    assert visit(request("/api/private/1", "strip.example"), "strip.example")[0] == 200
    status, answer = visit(request("/p", "moved.example"), "moved.example")
    assert status == 302 and b"location: https://shop.example/p" in answer


def test_who_is_redirected_stays_at_the_port_that_they_came_by() -> None:
    for answered in (visit_plain, lambda asked: visit(asked, "moved.example")):
        status, answer = answered(request("/there?x=1&y=%20", "moved.example"))
        assert status == 301 and b"location: /100%25?x=1&y=%20\r\n" in answer
        assert b"location: /100%25\r\n" in answered(request("/there", "moved.example"))[1]
    status, answer = visit_plain(request("/safe?x=1", "moved.example"))
    assert status == 301 and f"location: https://moved.example:{HTTPS}/safe?x=1".encode() in answer


def test_two_hosts_over_plain_http_do_not_slip_into_a_wildcard() -> None:
    data = b"GET / HTTP/1.1\r\nHost: evil.example\r\nHost: a.customers.example\r\n\r\n"

    assert visit_plain(data)[0] == 400


def test_plain_pages_say_what_happened() -> None:
    assert b"404 not found" in visit(request("/nowhere", "strip.example"), "strip.example")[1]
    status, answer = visit(request("/gone", "api.example"), "api.example")
    assert status == 503 and b"does not answer" in answer
    assert b"strict-transport-security: max-age=31536000" in visit(request())[1]


def test_a_slow_client_is_cut_off_by_the_header_timeout() -> None:
    with connect(HTTPS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: shop")
        connection.settimeout(30)
        answer = connection.recv(4096)

    assert answer == b"" or b" 408 " in answer


def test_a_websocket_outlives_request_timeout_changed_services_and_removed_backends(
    rig: Rig, gateway: Gateway, backend: ShowingBackend
) -> None:
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: eA==",
        "Sec-WebSocket-Version: 13",
    )
    with connect(HTTPS) as connection:
        assert ask(connection, request("/", "shop.example", *upgrade)).startswith(b"HTTP/1.1 101")
        for number in range(4):
            service = Service(
                name="shown",
                backends=(Backend(url=f"http://127.0.0.1:{free_port()}"),)
                if number == 3
                else gateway.services[0].backends,
                timeouts={"connect": 3 + number},
            )
            rig.show(Gateway(gateway.listen, (service, gateway.services[1]), gateway.routes[: 4 + number]))
            time.sleep(0.7)
            connection.sendall(b"still here %d" % number)
            assert connection.recv(100) == b"still here %d" % number
    rig.show(gateway)
    wait_until_served()


def wait_until_served() -> None:
    end = time.monotonic() + 60
    while visit(request())[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_hostile_text_makes_one_line_of_the_access_log_each(rig: Rig) -> None:
    wait_until_served()
    nasty = ['User-Agent: x" }\x1b[31m {"status":200', "User-Agent: \xff\xfe", "User-Agent: a\tb\\n{}"]
    for number, line in enumerate(nasty):
        data = f"GET /nasty{number} HTTP/1.1\r\nHost: shop.example\r\n{line}\r\n\r\n".encode("latin-1")
        visit(data)
    end = time.monotonic() + 60
    while rig.access_log.read_bytes().count(b"/nasty") < 2 and time.monotonic() < end:
        time.sleep(0.2)

    lines = [json.loads(line) for line in rig.access_log.read_bytes().splitlines()]
    assert sum(str(line.get("path", "")).startswith("/nasty") for line in lines) >= 2
    assert {line["log"] for line in lines} == {"access"}
