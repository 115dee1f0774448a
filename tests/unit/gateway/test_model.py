"""What people may write about the gateway, and what they are told when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.errors import Invalid
from edgeward.gateway.model import Backend, Behind, Listen, Route, Service, TcpRoute
from edgeward.parsing import Value, parse


def complaint(model: type[Value], data: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        parse(model, data, "it")
    return "\n".join(str(problem) for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("said", "canonical"),
    [
        ("http://Backend.Internal", "http://backend.internal:80"),
        ("https://b.example/", "https://b.example:443"),
        ("grpc://b.example:9", "h2c://b.example:9"),
        ("grpcs://b.example", "h2://b.example:443"),
        ("http://[2001:DB8::0:1]:8080", "http://[2001:db8::1]:8080"),
        ("http://localhost.:1", "http://localhost:1"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("tcp://B.example:25", "tcp://b.example:25"),
    ],
)
def test_backends_have_one_spelling(said: str, canonical: str) -> None:
    assert parse(Backend, {"url": said}).url == canonical


@pytest.mark.parametrize(
    "said",
    ["b:80", "ftp://b", "http://", "http://u:p@b", "http://b/path", "http://b?q", "http://b#f", "http://b:0", "http://b:65536",
     "http://0x7f.1", "http://127.1", "http://2130706433", "http://[::1%eth0]", "unix:run", "unix:/a/../b", "unix:/" + "x" * 107,
     "http://b\n", "tcp://b.example", "tcp://b:25/x", "http://b b", "http://bü"],
)  # fmt: skip
def test_backends_that_could_mean_two_things_are_refused(said: str) -> None:
    assert "it.url: " in complaint(Backend, {"url": said})


def test_every_problem_is_told_with_its_field() -> None:
    told = complaint(
        Service,
        {"name": "a b", "backends": ["http://b", "ftp://x"], "timeouts": {"connect": "x"}, "colour": 1},
    )

    for field in ("it.name", "it.backends[1]", "it.timeouts.connect", "it.colour"):
        assert field in told


def test_a_route_leads_to_exactly_one_place() -> None:
    assert "exactly one of service and redirect" in complaint(Route, {"hosts": ["a.example"]})
    both = {"hosts": ["a.example"], "service": "s", "redirect": {"path": "/x"}}
    assert "exactly one of service and redirect" in complaint(Route, both)


def test_regular_expressions_are_read_as_envoy_reads_them() -> None:
    assert "RE2" in complaint(Route, {"hosts": ["a.example"], "paths": ["~(?=x)"], "service": "s"})


def test_headers_of_the_connection_and_of_the_visitor_cannot_be_set() -> None:
    for name in ("Host", "X-Forwarded-For", "Content-Length", "x-envoy-retry-on"):
        told = complaint(
            Route, {"hosts": ["a.example"], "service": "s", "request_headers": {"set": {name: "x"}}}
        )
        assert "cannot be set" in told


def test_an_unnamed_route_is_named_after_what_it_matches() -> None:
    said = {"hosts": ["*.Shop.example"], "service": "s"}
    assert parse(Route, said).name == parse(Route, {**said, "service": "other"}).name
    assert parse(Route, said).name != parse(Route, {**said, "paths": ["/x"]}).name


@given(st.text(max_size=30))
def test_an_address_is_refused_or_has_one_spelling(text: str) -> None:
    try:
        found = parse(Listen, {"http": text})
    except Invalid:
        return
    assert parse(Listen, {"http": found.http[0]}).http == found.http


def test_one_address_cannot_have_two_listeners() -> None:
    assert "listed twice" in complaint(Listen, {"http": ":80", "https": "0.0.0.0:80"})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"hash_on": {"path": True}}, "hash_on goes with balance: ring_hash or maglev"),
        ({"balance": "random", "hash_on": {"path": True}}, "hash_on goes with balance: ring_hash or maglev"),
        ({"balance": "maglev", "hash_on": {}}, "say exactly one of header, cookie, client_address and path"),
        ({"balance": "maglev", "hash_on": {"path": True, "header": "x"}}, "say exactly one of"),
        ({"balance": "maglev", "hash_on": {"path": False}}, "hash_on.path"),
        ({"balance": "maglev", "hash_on": {"cookie": "a b"}}, "hash_on.cookie"),
    ],
)
def test_a_hash_is_made_of_one_thing_where_it_decides_something(more: dict[str, Any], said: str) -> None:
    assert said in complaint(Service, {"name": "s", "backends": ["http://b"], **more})


def test_a_hash_is_of_the_visitors_address_unless_told_otherwise() -> None:
    assert parse(Service, {"name": "s", "backends": ["http://b"], "balance": "maglev"}).hash_on is None
    said = {"name": "s", "backends": ["http://b"], "balance": "maglev", "hash_on": {"cookie": "side"}}
    by = parse(Service, said).hash_on
    assert by is not None and by.cookie is not None and (by.cookie.name, by.cookie.ttl) == ("side", None)


@pytest.mark.parametrize(
    "more",
    [{"paths": ["/x"]}, {"methods": ["GET"]}, {"headers": {"a": "b"}}, {"strip_path": True}, {"hsts": True}, {"http": "serve"},
     {"preserve_host": False}, {"request_headers": {"set": {"a": "b"}}}, {"retries": {}, "response_headers": {"remove": ["a"]}},
     {"service": None, "redirect": {"path": "/x"}}],
)  # fmt: skip
def test_a_route_that_passes_through_has_hosts_and_a_service_only(more: dict[str, Any]) -> None:
    said = {"hosts": ["a.example"], "service": "s", "tls": "passthrough", **more}
    assert "passthrough" in complaint(Route, {k: v for k, v in said.items() if v is not None})


def test_backends_for_bytes_and_for_requests_are_of_different_services() -> None:
    assert "split the service" in complaint(
        Service, {"name": "s", "backends": ["tcp://b.example:1", "http://c"]}
    )
    socket = Service(name="s", backends=("unix:/run/x",))
    assert socket.takes_requests and socket.takes_streams


def test_a_tcp_route_says_no_address_twice() -> None:
    both = ["127.0.0.1:25", ":25"]
    assert "keep one" in complaint(TcpRoute, {"name": "t", "listen": both, "service": "s"})
    assert "at least 1" in complaint(TcpRoute, {"name": "t", "listen": [], "service": "s"})


def test_a_node_may_listen_elsewhere_and_keeps_what_it_does_not_say() -> None:
    listen = parse(
        Listen,
        {"https": ":443", "http": ":80", "nodes": {"berlin": {"https": "192.0.2.1:443", "metrics": []}}},
    )

    assert listen.of_node("paris") is listen
    assert listen.of_node("berlin").https == ("192.0.2.1:443",)
    assert listen.of_node("berlin").http == ("0.0.0.0:80",)
    with pytest.raises(Invalid, match=r"192\.0\.2\.1:80 is listed twice for node berlin"):
        parse(Listen, {"http": "192.0.2.1:80", "nodes": {"berlin": {"https": "192.0.2.1:80"}}})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"service": "a", "canary": {"service": "b"}}, "say share, headers or both"),
        ({"service": "a", "canary": {"service": "a", "share": 1}}, "name another"),
        ({"redirect": {"path": "/"}, "canary": {"service": "b", "share": 1}}, "canary goes with service"),
        ({"service": "a", "canary": {"service": "b", "share": 101}}, "canary.share"),
        (
            {"service": "a", "tls": "passthrough", "canary": {"service": "b", "share": 1}},
            "canary is not for tls",
        ),
    ],
)
def test_a_canary_is_for_somebody_and_somewhere_else(more: dict[str, Any], said: str) -> None:
    assert said in complaint(Route, {"hosts": ["a.example"], **more})


def test_a_health_check_over_a_unix_socket_has_no_address_to_tell_in_the_first_version_of_proxy() -> None:
    said = {
        "name": "s",
        "backends": ["http://b", "unix:/run/x"],
        "health": {"active": {}},
        "proxy_protocol": "v1",
    }

    assert "use v2" in complaint(Service, said)
    assert parse(Service, {**said, "proxy_protocol": "v2"}).proxy_protocol == "v2"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"requests": 1, "per": "500ms"}, "rate_limits[0].per"),
        ({"requests": 1, "per": 1.5}, "write whole seconds"),
        ({"requests": 0}, "rate_limits[0].requests"),
        ({"requests": 1, "by": "visitor"}, "rate_limits[0].by"),
        ({"requests": 1, "by": {"header": "a b"}}, "rate_limits[0].by.header"),
    ],
)
def test_rate_limits_are_counted_in_whole_seconds_for_somebody(limit: dict[str, Any], said: str) -> None:
    assert said in complaint(Route, {"hosts": ["a.example"], "service": "s", "rate_limits": [limit]})


def test_a_backend_behind_a_site_may_be_written_in_two_ways_that_say_the_same() -> None:
    short = parse(Service, {"name": "s", "backends": ["vpn://office-berlin/192.168.4.10:8080"]})
    long = {"name": "s", "backends": [{"url": "http://192.168.4.10:8080", "via": "office-berlin"}]}

    assert short == parse(Service, long)
    assert short.backends[0].behind == Behind("office-berlin", "192.168.4.10", 8080)
    assert not short.backends[0].literal
    assert not short.backends[0].looked_up


@pytest.mark.parametrize(
    ("backend", "sentence"),
    [
        ({"url": "unix:/run/x", "via": "berlin"}, "via goes with"),
        ("vpn://berlin", "write a backend behind a site as vpn://SITE/HOST:PORT"),
        ("vpn:///10.0.0.1:80", "write a backend behind a site as vpn://SITE/HOST:PORT"),
        ({"url": "vpn://berlin/10.0.0.1:80", "via": "paris"}, "say the site once"),
        ("vpn://berlin/10.0.0.1:80/x", "a backend has no path"),
        ("vpn://a b/10.0.0.1:80", "a name has 1 to 100 letters"),
    ],
)
def test_a_backend_behind_a_site_that_cannot_be_is_refused_in_a_sentence(backend: Any, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(Service, {"name": "s", "backends": [backend]})

    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("http://h:99999", "a number from 1 to 65535"),
        ("http://h:0", "a number from 1 to 65535"),
        ("tcp://h:x", "a number from 1 to 65535"),
        ("http://fe80::zz", "in brackets"),
        (9000, "write a URL here, as http://HOST:PORT, or a mapping of fields with url"),
        (None, "write a URL here"),
    ],
)
def test_what_is_wrong_with_a_backend_is_said(backend: object, said: str) -> None:
    assert said in complaint(Service, {"name": "a", "backends": [backend]})
