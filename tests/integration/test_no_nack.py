"""Whatever the model accepts, Envoy accepts: random gateways are pushed to a real Envoy in bulk."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgeward.errors import Invalid
from edgeward.gateway.envoy import Gateway, endpoints, translate
from edgeward.gateway.envoy.gateway import ClientCertificates, Edge
from edgeward.gateway.envoy.tls import AUTHORITY, secret_of
from edgeward.gateway.model import Listen, Route, Service, TcpRoute
from edgeward.parsing import parse
from edgeward.xds import messages as m
from tests.client_certificates import Authority
from tests.integration.gateway_rig import Rig
from tests.ports import free_port


def mostly(good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One in thirty is from ``bad``: enough to try refusals, few enough that most wholes are accepted."""
    return st.integers(0, 29).flatmap(lambda n: bad if n == 29 else good)


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOST = st.builds(lambda w, a, b: f"{w}{a}.{b}.example", st.sampled_from(["", "*."]), LABEL, LABEL)
ANY = st.text(st.characters(min_codepoint=0, max_codepoint=0x7F), max_size=20)
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
ASCII = mostly(PRINTABLE, ANY)
PATHLIKE = mostly(st.text(st.sampled_from("abcz019-._~%!$&'()*+,;=:@/[]{}|^`"), max_size=20), ANY)
PATH = st.builds(lambda k, t: f"{k}/{t}", st.sampled_from(["", "="]), PATHLIKE) | st.builds(
    lambda t: f"~{t}",
    mostly(st.text(st.sampled_from("/abc.*+?0[]{},\\d|^$"), max_size=8), st.text(max_size=12))
    | st.from_regex(r"(/[a-z.*+?()|\[\]\\d]{1,6}){1,4}", fullmatch=True),
)
NAME = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
CHANGES = st.fixed_dictionaries(
    {}, optional={
        "set": st.dictionaries(NAME, ASCII, max_size=3),
        "add": st.dictionaries(NAME, ASCII, max_size=3),
        "remove": st.lists(NAME, max_size=3),
    }
)  # fmt: skip
SECONDS = mostly(
    st.floats(0.1, 600) | st.sampled_from(["500ms", "0.5s", "10m"]),
    st.sampled_from(["1ms", "30d", 1e-9, 1e9, 600.1]),
)
TIMEOUTS = st.fixed_dictionaries({}, optional={"connect": SECONDS, "response": SECONDS, "idle": SECONDS})
RETRIES = st.fixed_dictionaries(
    {}, optional={"attempts": mostly(st.integers(0, 5), st.integers(0, 6)), "statuses": st.lists(mostly(st.integers(500, 599), st.integers(499, 600)), max_size=3), "try_timeout": SECONDS}
)  # fmt: skip
BACKEND_URL = (
    st.sampled_from(["http://10.0.0.1", "https://[2001:db8::1]:8443", "unix:/run/x.sock", "https://b.example"])
    | st.builds(lambda s, h, p: f"{s}://{h}:{p}", st.sampled_from(["http", "https"]), LABEL, mostly(st.integers(1, 65535), st.integers(0, 65536)))
    | st.builds(lambda t: f"unix:/{t}", PATHLIKE)
)  # fmt: skip
BACKEND = (
    BACKEND_URL
    | st.fixed_dictionaries(
        {"url": BACKEND_URL},
        optional={
            "weight": mostly(st.integers(0, 1000), st.integers(-1, 1001)),
        },
    )
    | st.fixed_dictionaries(
        {
            "url": st.builds(lambda h: f"https://{h}", LABEL),
            "tls": st.fixed_dictionaries(
                {}, optional={"server_name": mostly(LABEL, ANY), "verify": st.booleans()}
            ),
        }
    )
)
HEALTH = st.fixed_dictionaries(
    {}, optional={
        "active": st.fixed_dictionaries({}, optional={
            "path": st.builds(lambda t: f"/{t}", PATHLIKE), "interval": SECONDS, "timeout": SECONDS,
            "statuses": mostly(st.sampled_from(["200", "200-399", "100-599", "599"]), st.just("300-200")),
            "healthy": mostly(st.integers(1, 100), st.integers(0, 101)), "unhealthy": mostly(st.integers(1, 100), st.integers(0, 101))}),
        "passive": st.fixed_dictionaries({}, optional={
            "errors": mostly(st.integers(1, 1000), st.integers(0, 1001)), "connect_errors": mostly(st.integers(1, 1000), st.just(0)), "failure_percent": st.integers(1, 100), "pause": SECONDS, "most_percent": mostly(st.integers(1, 100), st.integers(0, 101))}),
    }
)  # fmt: skip
LIMIT = mostly(st.integers(1, 1_000_000), st.integers(-1, 0))
CIRCUIT = st.fixed_dictionaries(
    {}, optional={"connections": LIMIT, "pending": LIMIT, "requests": LIMIT, "retries": st.integers(0, 9)}
)
HASH_ON = st.fixed_dictionaries({"header": mostly(NAME, ANY)}) | st.fixed_dictionaries({"cookie": mostly(NAME, ANY) | st.fixed_dictionaries(
    {"name": mostly(NAME | st.text(st.sampled_from("!#$%&'*+.^_`|~-"), min_size=1), ANY)}, optional={"ttl": mostly(st.sampled_from([0, 0.5, "365d"]) | st.floats(0, 1e7), st.just(-1))}
)}) | st.sampled_from([{"client_address": True}, {"path": True}, {"path": False}])  # fmt: skip
BALANCE = st.fixed_dictionaries({"balance": st.sampled_from(["ring_hash", "maglev"])}, optional={"hash_on": HASH_ON}) | st.fixed_dictionaries(
    {}, optional={"balance": st.sampled_from(["round_robin", "least_request", "random"])}
)  # fmt: skip
SERVICE = st.fixed_dictionaries(
    {"backends": st.lists(BACKEND, min_size=1, max_size=4) | st.lists(st.sampled_from(["h2://c.example:1", "h2c://10.0.0.1", "grpcs://d.example"]), min_size=1)},
    optional={"circuit": CIRCUIT, "proxy_protocol": st.sampled_from(["v1", "v2"]), "health": HEALTH, "timeouts": TIMEOUTS, "retries": RETRIES},
).flatmap(lambda service: BALANCE.map(lambda balance: {**service, **balance}))  # fmt: skip
REDIRECT = st.fixed_dictionaries(
    {}, optional={"host": HOST, "path": st.builds(lambda t: f"/{t}", PATHLIKE), "scheme": st.sampled_from(["http", "https"]), "status": st.sampled_from([301, 302, 303, 307, 308])}
)  # fmt: skip
RATE_LIMIT = st.fixed_dictionaries(
    {"requests": mostly(st.integers(1, 1_000_000), st.just(0))},
    optional={"per": mostly(st.integers(1, 86400) | st.sampled_from(["1s", "24h"]), st.sampled_from([0.5, 1.5, "2d"])), "burst": st.integers(1, 1_000_000), "by": st.sampled_from(["route", "client"]) | st.fixed_dictionaries({"header": mostly(NAME, ANY)})},
)  # fmt: skip
CANARY = st.fixed_dictionaries(
    {"service": st.sampled_from(["s0", "s1", "away"])},
    optional={"share": mostly(st.floats(0, 100) | st.sampled_from([0, 0.0001, 100]), st.just(100.1)), "headers": st.dictionaries(NAME, ASCII, max_size=2), "sticky": st.booleans()},
)  # fmt: skip
ROUTE = st.fixed_dictionaries(
    {"hosts": st.lists(HOST, min_size=1, max_size=3), "paths": st.lists(PATH, min_size=1, max_size=3)},
    optional={
        "methods": st.lists(st.sampled_from(["GET", "HEAD", "PUT"]), max_size=3), "headers": st.dictionaries(NAME, ASCII, max_size=2),
        "strip_path": st.booleans(), "preserve_host": st.booleans(), "request_headers": CHANGES, "response_headers": CHANGES,
        "hsts": st.booleans(), "http": st.sampled_from(["redirect", "serve", "refuse"]), "timeouts": TIMEOUTS, "retries": RETRIES, "canary": CANARY, "rate_limits": st.lists(RATE_LIMIT, max_size=3),
            },
)  # fmt: skip

LEADING = ROUTE | st.builds(
    lambda route, redirect: {
        **{k: v for k, v in route.items() if k != "canary"},
        "redirect": redirect,
        "strip_path": False,
    },
    ROUTE,
    REDIRECT,
)


def accepted(model: Any, data: dict[str, Any]) -> Any:
    try:
        return parse(model, data)
    except Invalid as error:
        assert error.problems and all(p.message for p in error.problems)
        return None


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    directory = Path(tempfile.mkdtemp(prefix="rig"))
    found = Rig(directory, {})
    yield found
    found.close()
    shutil.rmtree(directory)


PORT = free_port()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(SERVICE, min_size=20, max_size=40), st.lists(LEADING, min_size=40, max_size=60))
def test_envoy_refuses_nothing_that_the_model_accepts(
    rig: Rig, services: list[dict[str, Any]], routes: list[dict[str, Any]]
) -> None:
    kept = [s for i, data in enumerate(services) if (s := accepted(Service, {"name": f"s{i}", **data}))]
    led = [
        r
        for i, data in enumerate(routes)
        if (r := accepted(Route, {"name": f"r{i}", **({} if "redirect" in data else {"service": f"s{i % len(services)}"}), **data}))
    ]  # fmt: skip
    state = Gateway(Listen(https=f"127.0.0.1:{PORT}"), tuple(kept), tuple(led))
    assume(kept and led)
    taken_whole(rig, state)


def taken_whole(rig: Rig, state: Gateway) -> None:
    before = rig.discovery.accepted

    rig.discovery.set((*translate(state), *(endpoints(s, {}) for s in state.services)))

    end = time.monotonic() + 60
    while rig.discovery.accepted < before + 3 and not rig.discovery.refusals and time.monotonic() < end:
        time.sleep(0.005)
    refusals, rig.discovery.refusals[:] = list(rig.discovery.refusals), []
    assert refusals == []
    assert rig.process.poll() is None
    assert rig.discovery.accepted > before


NETWORKS = st.lists(
    mostly(
        st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "2001:db8::1/128"]),
        st.sampled_from(["10.0.0.1/8", "x", "10.0.0.0/33"]),
    ),
    max_size=3,
)
SPARE = [free_port() for _ in range(6)]
LISTEN = st.fixed_dictionaries(
    {"https": st.just(f"127.0.0.1:{PORT}"), "http": st.just(f"127.0.0.1:{SPARE[0]}")},
    optional={
        "trusted_proxies": NETWORKS, "proxy_protocol": NETWORKS, "access_log": st.sampled_from(["off", "stdout", "/dev/null"]),
        "default_domain": mostly(st.just("a.example"), ANY),
    },
)  # fmt: skip
STREAMING = st.fixed_dictionaries(
    {"backends": st.lists(st.sampled_from(["tcp://b.example:25", "tcp://10.0.0.1:1", "unix:/run/x.sock", "tcp://[::1]:65535"]), min_size=1)},
    optional={"circuit": CIRCUIT, "proxy_protocol": st.sampled_from(["v1", "v2"]), "health": HEALTH, "timeouts": TIMEOUTS, "retries": RETRIES},
)  # fmt: skip
PASSED = st.fixed_dictionaries(
    {}, optional={"http": st.sampled_from(["redirect", "refuse"]), "timeouts": TIMEOUTS}
)
TCP = st.fixed_dictionaries(
    {"listen": st.sampled_from(SPARE[1:]).map(lambda port: f"127.0.0.1:{port}")},
    optional={"proxy_protocol": NETWORKS, "most_connections": mostly(st.integers(1, 1_000_000), st.integers(0, 1_000_001))},
)  # fmt: skip


EDGE = st.builds(
    Edge,
    hot=st.booleans(),
    client=st.builds(
        ClientCertificates,
        required=st.booleans(),
        forward=st.lists(st.sampled_from(["subject", "dns", "uri", "certificate", "chain"]), unique=True).map(
            tuple
        ),
    ),
)
CA = Authority("any").pem


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    LISTEN,
    st.lists(STREAMING, min_size=1, max_size=5),
    st.lists(PASSED, max_size=20),
    st.lists(TCP, max_size=5, unique_by=lambda t: t["listen"]),
    st.lists(HOST, min_size=30, max_size=30, unique=True),
    st.lists(EDGE, max_size=10),
)
def test_envoy_refuses_no_listener_that_the_model_accepts(
    rig: Rig,
    listen: dict[str, Any],
    services: list[dict[str, Any]],
    passed: list[dict[str, Any]],
    tcp: list[dict[str, Any]],
    hosts: list[str],
    edged: list[Edge],
) -> None:
    where = accepted(Listen, listen)
    kept = [s for i, data in enumerate(services) if (s := accepted(Service, {"name": f"s{i}", **data}))]
    assume(where and kept)
    to = {"service": kept[0].name}
    routes = [
        accepted(Route, {"name": f"r{i}", "hosts": [hosts[i]], "tls": "passthrough", **to, **data})
        for i, data in enumerate(passed)
    ]
    opened = [accepted(TcpRoute, {"name": f"t{i}", **to, **data}) for i, data in enumerate(tcp)]
    domains = dict.fromkeys(hosts, "default")
    edges = dict(zip(hosts[20:], edged, strict=False))
    for name in edges:
        authority = m.CertificateValidationContext(trusted_ca=m.DataSource(inline_string=CA))
        rig.keep(
            secret_of(name, AUTHORITY),
            m.Secret(name=secret_of(name, AUTHORITY), validation_context=authority),
        )
    taken_whole(
        rig,
        Gateway(
            where,
            tuple(kept),
            tuple(filter(None, routes)),
            domains=domains,
            edges=edges,
            tcp_routes=tuple(filter(None, opened)),
        ),
    )
