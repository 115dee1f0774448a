"""Kong's declarative configuration in our words: what holds is a valid document, what does not is named."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.cli.imports.kong import translate
from edgeward.declaration import notation
from edgeward.declaration.document import from_data
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.world.checks import check
from tests.pairs import authority, make

NOW = time.time()
CA = authority("CA")
SHOP = make(["shop.example", "*.shop.example"], CA)
FILE = """
_format_version: "3.0"
_info: {select_tags: [prod]}
services:
- name: shop
  url: http://shop.internal:8080/base
  connect_timeout: 5000
  retries: 9
  tags: [a]
  plugins:
  - {name: rate-limiting, config: {minute: 60, limit_by: ip, policy: local}}
  - {name: key-auth}
  routes:
  - {name: shop all, hosts: [shop.example, www.shop.example], paths: [/], protocols: [https]}
  - name: api
    hosts: [shop.example]
    paths: [/api, "/v2/"]
    methods: [GET, POST]
    headers: {X-Version: ["2"]}
    preserve_host: true
  - {name: expressions, hosts: [shop.example], paths: ['~/item/\\d+$', '~/x'], strip_path: false}
  - {name: everywhere, paths: [/]}
- name: pool
  host: pool.upstream
  protocol: https
  tls_verify: false
  routes: []
- {name: raw, protocol: udp, host: x.example, port: 53}
- {name: off, enabled: false, url: "http://off.example"}
routes:
- {name: pooled, hosts: ["*.pool.example", "pool.*"], service: {name: pool}}
- {name: lost, hosts: [lost.example], service: {name: off}}
- {name: mail, protocols: [tcp], destinations: [{port: 25}], service: {name: pool}}
upstreams:
- name: pool.upstream
  algorithm: consistent-hashing
  hash_on: header
  hash_on_header: X-User
  healthchecks:
    active: {http_path: /ok, healthy: {interval: 5, successes: 2}, unhealthy: {http_failures: 3}}
    passive: {unhealthy: {http_failures: 4, tcp_failures: 0}}
  targets: [{target: "10.0.0.1:8443", weight: 2000}]
targets:
- {target: backend.internal, weight: 1000, upstream: {name: pool.upstream}}
consumers: [{username: ann}]
certificates:
- {cert: CERT, key: KEY, snis: [{name: shop.example}, {name: "*.shop.example"}]}
- {cert: "{vault://env/cert}", key: "{vault://env/key}", snis: [{name: vault.example}]}
"""


def translated(**changed):
    data = notation.read(FILE.encode(), "kong.yaml")
    data["certificates"][0] |= {"cert": SHOP.pem, "key": SHOP.key_pem}
    return translate({**data, **changed}, NOW)


def test_what_is_printed_is_a_document_that_holds_and_is_the_same_each_time():
    document = translated().document

    assert check(from_data(document, "f", KINDS).objects) == []
    assert translated().document == document
    assert yaml.safe_load(notation.write(document)) == document
    assert "PRIVATE" not in notation.write(document)


def test_services_are_those_of_kong_with_their_targets_and_checks():
    shop, pool = translated().services

    assert shop == {
        "name": "shop",
        "backends": ["http://shop.internal:8080"],
        "timeouts": {"connect": 5.0},
        "retries": {"attempts": 5},
    }
    assert pool["backends"] == [
        {"url": "https://10.0.0.1:8443", "weight": 1000, "tls": {"verify": False}},
        {"url": "https://backend.internal:8000", "weight": 500, "tls": {"verify": False}},
    ]
    assert pool["balance"] == "ring_hash" and pool["hash_on"] == {"header": "X-User"}
    active = {"path": "/ok", "interval": 5.0, "timeout": 1.0, "healthy": 2, "unhealthy": 3}
    assert pool["health"] == {"active": active, "passive": {"errors": 4}}


def test_routes_do_what_they_did_with_kongs_defaults():
    routes = {route["name"]: route for route in translated().routes}

    assert set(routes) == {"shop-all", "api", "expressions", "pooled"}
    assert routes["shop-all"]["hosts"] == ["shop.example", "www.shop.example"]
    assert routes["shop-all"]["preserve_host"] is False and "http" not in routes["shop-all"]
    assert routes["shop-all"]["rate_limits"] == [{"requests": 60, "per": 60, "by": "client"}]
    assert routes["api"] | {"rate_limits": None} == {
        "name": "api",
        "hosts": ["shop.example"],
        "service": "shop",
        "paths": ["/api", "/v2"],
        "methods": ["GET", "POST"],
        "headers": {"x-version": "2"},
        "strip_path": True,
        "http": "serve",
        "rate_limits": None,
    }
    assert routes["expressions"]["paths"] == ["~/item/\\d+", "~/x.*"]
    assert routes["pooled"]["hosts"] == ["*.pool.example"]


def test_certificates_are_uploaded_ones_and_other_hosts_get_our_own():
    made = translated()

    assert made.domains == [
        {"name": "shop.example", "also": ["*.shop.example"], "issuer": "uploaded"},
        {"name": "*.pool.example"},
    ]
    assert list(made.pairs) == ["shop.example"]


@pytest.mark.parametrize(
    "sentence",
    [
        "consumers are not taken over (1 of them)",
        "the path /base is not put before what is forwarded",
        "the plugin key-auth is not taken over",
        "the route everywhere has no hosts",
        "the service raw speaks udp",
        "the service off is not enabled",
        "the route lost leads to no service",
        "the route mail takes tcp: declare it under tcp_routes",
        "the host pool.* is left out",
        "the certificate of vault.example: cert: there is no certificate in it",
        "/foo takes /foo/bar and not /foobar",
    ],
)
def test_what_is_not_taken_over_is_named(sentence):
    assert any(sentence in note for note in translated().notes), translated().notes


@pytest.mark.parametrize(
    "data", [None, [], {}, {"services": []}, {"_format_version": "3.0", "services": {"a": 1}}]
)
def test_what_is_not_kongs_is_refused(data):
    with pytest.raises(Invalid):
        translate(data, NOW)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "name",
    "url",
    "host",
    "port",
    "paths",
    "hosts",
    "methods",
    "headers",
    "retries",
    "targets",
    "plugins",
]
things = st.lists(st.dictionaries(st.sampled_from(FIELDS), json, max_size=6), max_size=3)


@settings(max_examples=50, deadline=None)
@given(things, things, things)
def test_whatever_a_file_says_it_is_translated_or_refused(services, routes, upstreams):
    nested = [{**one, "routes": routes} for one in services]
    try:
        made = translate({"_format_version": "3.0", "services": nested, "upstreams": upstreams}, NOW)
    except Invalid:
        return
    assert check(from_data(made.document, "f", KINDS).objects) is not None


EXPORTED = """
_format_version: "3.0"
services:
- {id: 11111111-0000-4000-8000-000000000001, name: shop, host: pool}
- {id: 11111111-0000-4000-8000-000000000002, name: other, host: other.internal}
routes:
- {id: 22222222-0000-4000-8000-000000000001, name: a, hosts: [a.example], service: 11111111-0000-4000-8000-000000000001}
- {id: 22222222-0000-4000-8000-000000000002, name: b, hosts: [b.example], service: {id: 11111111-0000-4000-8000-000000000001}}
- {id: 22222222-0000-4000-8000-000000000003, name: c, hosts: [c.example], service: other}
- {id: 22222222-0000-4000-8000-000000000003, name: d, hosts: [d.example], service: {name: other}}
upstreams:
- {id: 33333333-0000-4000-8000-000000000001, name: pool}
targets:
- {target: "10.0.0.1:80", upstream: 33333333-0000-4000-8000-000000000001}
plugins:
- {name: rate-limiting, config: {minute: 9, limit_by: ip}}
- {name: rate-limiting, config: {minute: 3, limit_by: ip}, service: 11111111-0000-4000-8000-000000000001}
- {name: rate-limiting, config: {minute: 7, limit_by: ip}, service: shop, enabled: false}
- {name: rate-limiting, config: {minute: 1, limit_by: ip}, route: 22222222-0000-4000-8000-000000000002}
- {name: rate-limiting, config: {minute: 2, limit_by: ip}, consumer: ann}
"""


def test_what_kong_writes_by_ids_leads_where_it_did_and_each_plugin_is_of_what_it_was():
    made = translate(notation.read(EXPORTED.encode(), "kong.yaml"), NOW)

    assert [(r["name"], r["service"], r["rate_limits"][0]["requests"]) for r in made.routes] == [
        ("a", "shop", 3),
        ("b", "shop", 1),
        ("c", "other", 9),
        ("d", "other", 9),
    ]
    assert all(len(route["rate_limits"]) == 1 for route in made.routes)
    assert made.services[0]["backends"] == ["http://10.0.0.1:80"]
    assert "the plugin rate-limiting of a consumer is not taken over" in made.notes


def test_routes_of_one_long_name_get_names_that_hold():
    routes = [{"name": "r" * 100, "hosts": [f"{n}.a.example"]} for n in "abc"]
    made = translate({"_format_version": "3.0", "services": [{"host": "b.example", "routes": routes}]}, NOW)

    assert check(from_data(made.document, "f", KINDS).objects) == []
    assert len({route["name"] for route in made.routes}) == 3


def test_a_number_without_end_is_refused():
    targets = [{"target": "10.0.0.1:80", "weight": float("inf")}]
    data = {"services": [{"host": "u"}], "upstreams": [{"name": "u", "targets": targets}]}
    with pytest.raises(Invalid, match="no declarative configuration that Kong would take"):
        translate({"_format_version": "3.0", **data}, NOW)


def test_what_tools_say_of_the_file_itself_is_passed_over_and_the_rest_is_named():
    data = {
        "_format_version": "3.0",
        "_konnect": {"control_plane_name": "x"},
        "consumers": [{"username": "bob"}],
        "custom": {"a": 1},
    }
    assert translate(data, NOW).notes == [
        "consumers are not taken over (1 of them)",
        "custom are not taken over",
    ]
