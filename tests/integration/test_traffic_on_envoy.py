"""Who gets which backend in a real Envoy: weights, hashes, canaries, circuits and rate limits."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgeward.gateway.envoy import Gateway, limits
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import parse
from tests.integration.gateway_rig import Rig, ask, connect
from tests.integration.processes import until
from tests.ports import free_port

HTTPS = free_port()
NAME = "shop.example"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    directory = Path(tempfile.mkdtemp(prefix="rig"))
    found = Rig(directory, {NAME: NAME})
    yield found
    found.close()
    shutil.rmtree(directory)


GO_ON = threading.Event()
"""Whoever asks for /slow waits for this."""


class Numbered(BaseHTTPRequestHandler):
    """Answers with its server's number, in one packet."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            GO_ON.wait(60)
        said = b"%d" % self.server.number  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def servers() -> Iterator[list[ThreadingHTTPServer]]:
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Numbered) for _ in range(4)]
    for number, server in enumerate(servers):
        server.number, server.status = number, 200  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def urls(servers: list[ThreadingHTTPServer]) -> list[str]:
    return [f"http://127.0.0.1:{server.server_port}" for server in servers]


_SHOWN = 0


def show(rig: Rig, services: dict[str, Any], *routes: dict[str, Any], **listen: Any) -> None:
    """Show these services and routes, and wait until Envoy serves by them.

    A service whose cluster is another one goes on as it was until that is warm: name it anew.
    """
    global _SHOWN
    _SHOWN += 1
    parsed = tuple(parse(Service, {"name": name, **value}) for name, value in services.items())
    marker = {"hosts": [NAME], "paths": ["=/shown"], "redirect": {"path": f"/{_SHOWN}"}}
    led = tuple(parse(Route, {"hosts": [NAME], **route}) for route in (*routes, marker))
    state = Gateway(Listen(https=f"127.0.0.1:{HTTPS}", **listen), parsed, led)
    rig.show(state)
    end = time.monotonic() + 60
    while f"/{_SHOWN}\r\n".encode() not in answer("/shown"):
        assert time.monotonic() < end and rig.discovery.refusals == []
        time.sleep(0.02)


def answer(path: str = "/", *lines: str, source: str | None = None) -> bytes:
    return next(answers([(path, *lines)], source))


def answers(asked: Iterable[tuple[str, ...]], source: str | None = None) -> Iterator[bytes]:
    """Give the answers to requests (path and header lines) on one connection."""
    with connect(HTTPS, NAME, source) as connection:
        for path, *lines in asked:
            head = [f"GET {path} HTTP/1.1", f"Host: {NAME}", *lines]
            yield ask(connection, ("\r\n".join(head) + "\r\n\r\n").encode())


def body(text: bytes) -> str:
    return text.partition(b"\r\n\r\n")[2].decode()


def chosen(values: Iterable[str], header: str = "x-user") -> dict[str, str]:
    """Give the backend each value of a header leads to."""
    values = list(values)
    return dict(zip(values, map(body, answers(("/", f"{header}: {v}") for v in values)), strict=True))


USERS = [f"user-{number}" for number in range(60)]


@pytest.mark.parametrize("balance", ["round_robin", "random", "ring_hash", "maglev"])
def test_weights_share_out_requests_and_zero_gets_none(rig: Rig, urls: list[str], balance: str) -> None:
    weighted = [{"url": url, "weight": weight} for url, weight in zip(urls, (1, 3, 0, 4), strict=True)]
    by = {"hash_on": {"header": "x-user"}} if balance in ("ring_hash", "maglev") else {}
    name = f"weighted-{balance}"
    show(rig, {name: {"backends": weighted, "balance": balance, **by}}, {"service": name})

    counts = Counter(body(a) for a in answers(("/", f"x-user: {n}") for n in range(400)))

    assert set(counts) == {"0", "1", "3"}
    assert 20 <= counts["0"] <= 85 and 105 <= counts["1"] <= 195 and 150 <= counts["3"] <= 250


@pytest.mark.parametrize("balance", ["ring_hash", "maglev"])
def test_a_hash_chooses_the_same_backend_whatever_the_order_and_history_of_backends(
    rig: Rig, urls: list[str], balance: str
) -> None:
    def shown(order: list[str]) -> dict[str, str]:
        service = {"backends": order, "balance": balance, "hash_on": {"header": "x-user"}}
        show(rig, {balance: service}, {"service": balance})
        return chosen(USERS)

    first = shown(urls[:3])
    assert set(first.values()) == {"0", "1", "2"}
    fewer = shown([urls[2], urls[0]])
    moved = [user for user in USERS if fewer[user] != first[user]]
    stayed = [user for user in moved if first[user] != "1"]

    assert shown([urls[2], urls[1], urls[0]]) == first
    assert len(stayed) < len(USERS) / 4


def test_a_hash_is_made_of_what_the_service_says(rig: Rig, urls: list[str]) -> None:
    def hashing(on: dict[str, Any] | None) -> None:
        by = {} if on is None else {"hash_on": on}
        show(rig, {"hashing": {"backends": urls, "balance": "ring_hash", **by}}, {"service": "hashing"})

    sources = [f"127.0.1.{number}" for number in range(1, 10)]
    hashing(None)
    by_address = {source: body(answer(source=source)) for source in sources}
    assert len(set(by_address.values())) > 1
    assert by_address == {source: body(answer(f"/{source}", source=source)) for source in sources}

    hashing({"header": "X-User"})
    assert len(set(chosen(USERS).values())) == 4 and chosen(USERS) == chosen(USERS)
    assert by_address == {source: body(answer(source=source)) for source in sources}  # it lacks the header

    hashing({"path": True})
    paths = [f"/{user}" for user in USERS]
    plain = [body(a) for a in answers((path,) for path in paths)]
    assert plain == [body(a) for a in answers((f"{path}?q={path}",) for path in paths)]
    assert len(set(plain)) == 4

    hashing({"cookie": {"name": "side", "ttl": "1h"}})
    given = answer().lower()
    line = next(li for li in given.split(b"\r\n") if li.startswith(b"set-cookie: side="))
    assert {a.strip() for a in line.split(b";")[1:]} == {
        b"max-age=3600", b"path=/", b"httponly", b"samesite=lax", b"secure"
    }  # fmt: skip
    cookie = line.partition(b": ")[2].partition(b";")[0].decode()
    again = [a.lower() for a in answers([("/", f"cookie: {cookie}")] * 10, "127.0.1.9")]
    assert {body(a) for a in again} == {body(given)} and not any(b"set-cookie" in a for a in again)


def test_behind_a_trusted_proxy_the_visitors_own_address_is_hashed(rig: Rig, urls: list[str]) -> None:
    show(
        rig,
        {"s": {"backends": urls, "balance": "maglev"}},
        {"service": "s"},
        trusted_proxies=["127.0.0.2/32"],
    )

    asked = [("/", f"X-Forwarded-For: 192.0.2.{number}") for number in range(1, 30)]
    through = [body(a) for a in answers(asked, "127.0.0.2")]

    assert len(set(through)) == 4 and through == [body(a) for a in answers(asked, "127.0.0.2")]
    assert len({body(a) for a in answers(asked, "127.0.0.3")}) == 1


def test_a_canary_gets_its_share_of_visitors_and_keeps_them_as_it_grows(rig: Rig, urls: list[str]) -> None:
    services = {"old": {"backends": urls[:1]}, "new": {"backends": urls[1:2]}}
    visitors = [f"192.0.2.{number}" for number in range(1, 81)]
    proxy = {"trusted_proxies": ["127.0.0.2/32"]}

    def shown(share: float) -> set[str]:
        show(rig, services, {"service": "old", "canary": {"service": "new", "share": share}}, **proxy)
        asked = [("/", f"X-Forwarded-For: {visitor}") for visitor in visitors]
        first, second = (dict(zip(visitors, answers(asked, "127.0.0.2"), strict=True)) for _ in range(2))
        assert all(body(first[v]) == body(second[v]) for v in visitors)
        return {visitor for visitor in visitors if body(first[visitor]) == "1"}

    fifth, half = shown(20), shown(50)
    assert 6 <= len(fifth) <= 28 and 26 <= len(half) <= 54
    assert fifth < half
    assert shown(0) == set() and shown(100) == set(visitors)

    show(rig, services, {"service": "old", "canary": {"service": "new", "share": 12.5, "sticky": False}})
    counts = Counter(body(a) for a in answers(("/",) for _ in range(800)))
    assert 60 <= counts["1"] <= 145


def test_headers_lead_to_the_canary_whatever_else_the_route_does(rig: Rig, urls: list[str]) -> None:
    services = {"old": {"backends": urls[:1]}, "new": {"backends": urls[1:2]}}
    canary = {"service": "new", "headers": {"X-Canary": "always", "x-team": "a"}}
    route = {
        "service": "old",
        "paths": ["/api"],
        "strip_path": True,
        "preserve_host": False,
        "timeouts": {"response": 5},
    }
    show(rig, services, {**route, "canary": canary}, {"service": "old", "paths": ["/api/own"]})

    asked = ("X-Canary: always", "X-Team: a")
    assert body(answer("/api/x", *asked)) == "1" and body(answer("/api", *asked)) == "1"
    assert body(answer("/api/x")) == body(answer("/api/x", "X-Canary: always")) == "0"
    assert body(answer("/api/own", *asked)) == "0"  # another route

    show(rig, services, {**route, "canary": {**canary, "share": 0}})
    assert body(answer("/api/x", *asked)) == "1" and body(answer("/api/x")) == "0"
    assert b" 404 " in answer("/", *asked)


def test_what_a_circuit_does_not_take_gets_a_page_at_once_and_is_in_the_log(
    rig: Rig, urls: list[str]
) -> None:
    circuit = {"connections": 1, "pending": 1}
    show(
        rig,
        {"narrow": {"backends": urls[:1], "circuit": circuit, "retries": {"attempts": 0}}},
        {"service": "narrow"},
    )
    got: list[bytes] = []
    visitors = [threading.Thread(target=lambda: got.append(answer("/slow"))) for _ in range(5)]

    for visitor in visitors:
        visitor.start()
    until(lambda: len(got) == 3, what="those for whom there is no place")
    GO_ON.set()
    for visitor in visitors:
        visitor.join()

    statuses = Counter(int(text.split(b" ", 2)[1]) for text in got)
    assert statuses == {200: 2, 503: 3}
    assert {body(text) for text in got if b" 503 " in text[:20]} == {
        "503 Service Unavailable: too many visitors at once. Please try again soon.\n"
    }
    assert logged(rig, b"/slow", 5) >= {"UO"}


def logged(rig: Rig, path: bytes, count: int) -> set[str]:
    """Give the flags of the access log's lines for a path, once there are so many."""
    end = time.monotonic() + 60
    while rig.access_log.read_bytes().count(path) < count and time.monotonic() < end:
        time.sleep(0.1)
    lines = [json.loads(line) for line in rig.access_log.read_bytes().splitlines() if path in line]
    return {str(line.get("flags")) for line in lines}


@pytest.mark.parametrize(
    ("passive", "left"),
    [
        ({"errors": 3}, {"0"}),
        ({"errors": 3, "most_percent": 49}, {"0", "1"}),
        ({"errors": 1000, "failure_percent": 50}, {"0"}),
    ],
)
def test_a_backend_that_answers_with_errors_is_left_out_but_never_more_than_may_be(
    rig: Rig, servers: list[ThreadingHTTPServer], urls: list[str], passive: dict[str, Any], left: set[str]
) -> None:
    name = "sick" + "-".join(passive)
    health = {"passive": {"pause": "60s", **passive}}
    show(rig, {name: {"backends": urls[:2], "health": health, "retries": {"attempts": 0}}}, {"service": name})
    servers[1].status = 503  # type: ignore[attr-defined]
    try:
        for _ in range(4 if "1" in left else 200):
            if (got := {body(a) for a in answers([("/",)] * 60)}) == {"0"}:
                break
            time.sleep(0.2)
    finally:
        servers[1].status = 200  # type: ignore[attr-defined]
    assert got == left


def test_refused_connections_are_counted_apart_from_answers(rig: Rig, urls: list[str]) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    health = {"passive": {"errors": 1000, "connect_errors": 2, "pause": "60s"}}
    show(
        rig,
        {"half": {"backends": [urls[0], dead], "health": health, "retries": {"attempts": 0}}},
        {"service": "half"},
    )

    list(answers([("/",)] * 20))
    assert [a[9:12] for a in answers([("/",)] * 20)] == [b"200"] * 20


def test_the_last_backend_stays_however_it_does(
    rig: Rig, servers: list[ThreadingHTTPServer], urls: list[str]
) -> None:
    show(rig, {"alone": {"backends": urls[:1], "health": {"passive": {"errors": 1}}}}, {"service": "alone"})
    servers[0].status = 503  # type: ignore[attr-defined]
    list(answers([("/",)] * 10))
    servers[0].status = 200  # type: ignore[attr-defined]

    assert answer()[9:12] == b"200"


def statuses(asked: Iterable[tuple[str, ...]], source: str | None = None) -> list[int]:
    return [int(text.split(b" ", 2)[1]) for text in answers(asked, source)]


def test_a_route_takes_so_many_requests_over_all_its_hosts_and_paths(rig: Rig, urls: list[str]) -> None:
    bounds = [{"requests": 4, "per": "1h", "by": "route"}]
    route = {"service": "s", "paths": ["/a", "/b"], "rate_limits": bounds}
    show(rig, {"s": {"backends": urls[:1]}}, route, {"service": "s"})

    assert statuses([("/a",), ("/b",), ("/a",), ("/b",), ("/a",), ("/b",), ("/",)]) == [200] * 4 + [
        429,
        429,
        200,
    ]
    refused = answer("/a").lower()
    assert body(refused) == "429 too many requests: please slow down.\n"
    assert b"\r\nretry-after: 900\r\n" in refused
    assert b"\r\nx-ratelimit-limit: 4" in refused and b"\r\nx-ratelimit-remaining: 0\r\n" in refused
    assert b"retry-after" not in answer("/").lower()
    assert logged(rig, b'"/b"', 3) >= {"RL"}

    show(
        rig,
        {"s": {"backends": urls[:1]}},
        {**route, "hsts": True},
        {"service": "s"},
        {"service": "s", "paths": ["/new"]},
    )
    assert statuses([("/a",), ("/new",)]) == [429, 200]  # other routes' changes fill no bucket


def test_each_client_has_tokens_of_its_own_and_ipv6_networks_count_as_one(rig: Rig, urls: list[str]) -> None:
    bounds = [
        {"requests": 2, "per": "1h", "by": "client"},
        {"requests": 100, "per": "1h", "burst": 7, "by": "route"},
    ]
    services = {"s": {"backends": urls[:1]}}
    show(rig, services, {"service": "s", "rate_limits": bounds}, trusted_proxies=["127.0.0.2/32"])

    def asking(visitor: str, times: int = 3) -> list[int]:
        return statuses([("/", f"X-Forwarded-For: {visitor}")] * times, "127.0.0.2")

    assert asking("192.0.2.1") == [200, 200, 429]
    assert asking("192.0.2.2", 2) == [200, 200]
    assert asking("2001:db8::1", 1) + asking("2001:db8::2", 2) == [200, 200, 429]
    assert asking("2001:db8:0:1::1") == [200, 429, 429]  # the seventh of all
    assert statuses([("/",)], "127.0.0.3") == [200]  # strangers' chain counts apart


def test_a_header_says_who_the_client_is_and_those_without_count_by_address(
    rig: Rig, urls: list[str]
) -> None:
    bounds = [{"requests": 2, "per": "1h", "by": {"header": "X-Key"}}]
    show(rig, {"s": {"backends": urls[:1]}}, {"service": "s", "rate_limits": bounds})

    keyed = [("/", f"x-key: {key}") for key in "aaabbb"]
    assert statuses(keyed) == [200, 200, 429] * 2
    assert statuses([("/",)] * 3) == [200, 200, 429]
    assert statuses([("/",)] * 3, "127.0.0.7") == [200, 200, 429]
    long = [("/", f"x-key: {number}{'x' * 128}") for number in range(3)]
    assert statuses(long, "127.0.0.8") == [200, 200, 429]


def test_clients_are_forgotten_before_they_are_too_many(
    rig: Rig, urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MOST_CLIENTS", 3)
    bound = [{"requests": 1, "per": "1h"}]
    services = {"s": {"backends": urls[:1]}}
    show(rig, services, {"service": "s", "rate_limits": bound}, trusted_proxies=["127.0.0.2/32"])

    asked = [("/", f"X-Forwarded-For: 192.0.2.{number}") for number in (1, 2, 3, 1, 2, 3, 4, 1)]
    assert statuses(asked, "127.0.0.2") == [200, 200, 200, 429, 429, 429, 200, 200]


def test_tokens_come_back_evenly(rig: Rig, urls: list[str]) -> None:
    bounds = [{"requests": 10, "per": "1s", "burst": 1}]
    show(rig, {"s": {"backends": urls[:1]}}, {"service": "s", "rate_limits": bounds})

    assert 429 in statuses([("/",)] * 40)
    time.sleep(0.3)
    assert statuses([("/",)]) == [200]
