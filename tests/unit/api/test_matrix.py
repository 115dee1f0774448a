"""Every route of the API with every role: who is let in, who is not, and no route forgotten."""

from __future__ import annotations

import asyncio

import pytest

from edgeward.certificates.model import Order
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.model import Wish
from edgeward.declaration.feed import EnvoyState, Report
from tests.pairs import make
from tests.unit.controller.assembled import controller

ROLES = ("nobody", "viewer@*", "viewer@a", "operator@*", "operator@a", "admin@*", "admin@a", "join", "node")
IN = "let in"
# fmt: off
#                  nobody  v@*  v@a  o@*  o@a  a@*  a@a  join node
OPEN           =  (IN,     IN,  IN,  IN,  IN,  IN,  IN,  IN,  IN)
READ           =  (401,    IN,  IN,  IN,  IN,  IN,  IN,  403, 403)
READ_DEFAULT   =  (401,    IN,  404, IN,  404, IN,  404, 403, 403)
CHANGE         =  (401,    403, 403, IN,  IN,  IN,  IN,  403, 403)
CHANGE_DEFAULT =  (401,    403, 403, IN,  404, IN,  404, 403, 403)
CHANGE_ALL     =  (401,    403, 403, IN,  403, IN,  403, 403, 403)
ISSUERS        =  (401,    403, 403, 403, 403, IN,  IN,  403, 403)
ADMINISTER_DEFAULT = (401, 403, 403, 403, 403, IN, 404,  403, 403)
ADMINISTER     =  (401,    403, 403, 403, 403, IN,  IN,  403, 403)
SURVEY         =  (401,    IN,  403, IN,  403, IN,  403, 403, 403)
GOVERN         =  (401,    403, 403, 403, 403, IN,  403, 403, 403)
REKEY          =  (401,    403, 403, 403, 403, 404, 403, 403, 403)  # that issuer has no account anywhere
JOIN           =  (401,    403, 403, 403, 403, 403, 403, IN,  403)
FOLLOW         =  (401,    403, 403, 403, 403, 403, 403, 403, IN)
ACT            =  (401,    503, 503, 503, 503, 503, 503, 403, 403)  # no node is connected; its rootd decides
NO_TUNNEL      =  (401,    404, 404, 404, 404, 404, 404, 403, 403)  # none of that name is declared
NO_TUNNEL_MOVED = (401,    403, 403, 404, 404, 404, 404, 403, 403)
FOLLOW_RUN     =  (401,    404, 404, 404, 404, 404, 404, 403, 403)
# fmt: on

REPORT = Report(version="1", revision=0, received=0, envoy=EnvoyState(state="serving")).model_dump(
    mode="json"
)
OWN, OTHER = make(["off.example"]), make(["in.example"])
LISTEN = {"https": "127.0.0.1:8443"}
SERVICE = {"backends": ["http://b.example"]}
SITE = {
    "peer": "198.51.100.9",
    "local_networks": "10.1.0.0/24",
    "remote_networks": "10.2.0.0/24",
    "local_id": "@here.example",
    "secret": "a pre-shared key",
}
INSIDE = {"subnet": "new", "address": "10.8.0.1"}
CONNECTION = {
    "vpnservice": "new",
    "ikepolicy": "new",
    "ipsecpolicy": "new",
    "peer_cidrs": ["10.9.0.0/24"],
    "peer_address": "peer.example",
    "peer_id": "peer",
    "psk": "secret",
}
ROUTES = {
    ("GET", "/healthz"): ("/healthz", None, OPEN),
    ("GET", "/readyz"): ("/readyz", None, OPEN),
    ("GET", "/openapi.json"): ("/openapi.json", None, OPEN),
    ("GET", "/v1/ca/root"): ("/v1/ca/root", None, OPEN),
    ("GET", "/metrics"): ("/metrics", None, SURVEY),
    ("POST", "/v1/apply"): ("/v1/apply", {"source": "file:nothing", "document": {"version": 1}}, CHANGE),
    ("GET", "/v1/export"): ("/v1/export", None, READ),
    ("GET", "/v1/audit"): ("/v1/audit", None, ADMINISTER),
    ("GET", "/v1/history"): ("/v1/history", None, READ),
    ("GET", "/v1/history/{revision}"): ("/v1/history/1", None, READ_DEFAULT),
    ("GET", "/v1/history/{revision}/{kind}/{name}"): (
        "/v1/history/1/routes/r?project=default",
        None,
        READ_DEFAULT,
    ),
    ("POST", "/v1/history/{revision}/rollback"): (
        "/v1/history/1/rollback",
        {"kind": "domains", "name": "shop.example", "dry_run": True},
        CHANGE_DEFAULT,
    ),
    ("GET", "/v1/events"): ("/v1/events?follow=false", None, READ),
    ("GET", "/v1/wait"): ("/v1/wait?revision=0&timeout=0", None, READ),
    ("GET", "/v1/status"): ("/v1/status", None, READ),
    ("GET", "/v1/tokens"): ("/v1/tokens", None, ADMINISTER),
    ("POST", "/v1/tokens"): ("/v1/tokens", {"name": "x", "role": "viewer", "project": "a"}, ADMINISTER),
    ("DELETE", "/v1/tokens/{id_or_name}"): ("/v1/tokens/x", None, ADMINISTER),
    ("GET", "/v1/nodes"): ("/v1/nodes", None, SURVEY),
    ("POST", "/v1/nodes/join"): ("/v1/nodes/join", {"name": "n2"}, JOIN),
    ("GET", "/v1/nodes/{name}"): ("/v1/nodes/n1", None, SURVEY),
    ("GET", "/v1/nodes/{name}/cache"): ("/v1/nodes/n1/cache", None, SURVEY),
    ("GET", "/v1/nodes/{name}/watch"): ("/v1/nodes/n1/watch", None, FOLLOW),
    ("POST", "/v1/nodes/{name}/report"): ("/v1/nodes/n1/report", REPORT, FOLLOW),
    ("POST", "/v1/nodes/{name}/answers"): ("/v1/nodes/n1/answers", {"id": "x", "tier": "none"}, FOLLOW),
    ("GET", "/v1/nodes/{name}/tier"): ("/v1/nodes/n1/tier", None, FOLLOW),
    ("PUT", "/v1/nodes/{name}/labels"): ("/v1/nodes/n1/labels", {"labels": {"region": "eu"}}, GOVERN),
    ("DELETE", "/v1/nodes/{name}"): ("/v1/nodes/n1", None, GOVERN),
    ("GET", "/v1/certificates"): ("/v1/certificates", None, READ),
    ("GET", "/v1/certificates/{name}"): ("/v1/certificates/shop.example", None, READ_DEFAULT),
    ("POST", "/v1/certificates/expire"): ("/v1/certificates/expire", None, CHANGE_ALL),
    ("POST", "/v1/certificates/{name}/expire"): (
        "/v1/certificates/shop.example/expire",
        None,
        CHANGE_DEFAULT,
    ),
    ("POST", "/v1/certificates/{name}/obtain"): ("/v1/certificates/shop.example/obtain", None, FOLLOW),
    ("GET", "/v1/challenges"): ("/v1/challenges", None, FOLLOW),
    ("PUT", "/v1/certificates/{name}"): (
        "/v1/certificates/off.example",
        {"cert": OWN.pem, "key": OWN.key_pem},
        CHANGE_DEFAULT,
    ),
    ("POST", "/v1/certificates/import"): (
        "/v1/certificates/import",
        {"names": ["in.example"], "issuer": "i", "cert": OTHER.pem, "key": OTHER.key_pem},
        GOVERN,
    ),
    ("POST", "/v1/accounts/import"): (
        "/v1/accounts/import",
        {
            "issuer": "i",
            "directory": "https://ca.example/directory",
            "url": "https://ca.example/1",
            "key": OTHER.key_pem,
        },
        GOVERN,
    ),
    ("POST", "/v1/certificates/{name}/take"): (
        "/v1/certificates/shop.example/take",
        None,
        ADMINISTER_DEFAULT,
    ),
    ("POST", "/v1/certificates/{name}/revoke"): (
        "/v1/certificates/shop.example/revoke",
        {"replace": True},
        CHANGE_DEFAULT,
    ),
    ("GET", "/v1/certificates/{name}/history"): ("/v1/certificates/shop.example/history", None, READ),
    ("GET", "/v1/orders"): ("/v1/orders", None, READ),
    ("GET", "/v1/orders/progress"): ("/v1/orders/progress", None, READ),
    ("GET", "/v1/orders/outlook"): ("/v1/orders/outlook", None, SURVEY),
    ("GET", "/v1/orders/{name}"): ("/v1/orders/ordered.example", None, READ_DEFAULT),
    ("GET", "/v1/actions"): ("/v1/actions", None, ACT),
    ("POST", "/v1/actions/{name}/run"): ("/v1/actions/x/run", {}, ACT),
    ("GET", "/v1/actions/runs/{id}"): ("/v1/actions/runs/0123456789abcdef", None, FOLLOW_RUN),
    ("GET", "/v1/nodes/{name}/root-log"): ("/v1/nodes/n1/root-log", None, SURVEY),
    ("GET", "/v1/explain/{name}"): ("/v1/explain/shop.example", None, READ),
    ("GET", "/v1/explain/nodes/{name}"): ("/v1/explain/nodes/n1", None, SURVEY),
    ("GET", "/v1/explain/actions/{name}"): ("/v1/explain/actions/x", None, READ),
    ("GET", "/v1/explain/relays/{site}/{place}"): ("/v1/explain/relays/office/192.0.2.1:80", None, READ),
    ("GET", "/v1/explain/vpn/{name}"): ("/v1/explain/vpn/office", None, NO_TUNNEL),
    ("GET", "/v1/tunnels"): ("/v1/tunnels", None, READ),
    ("GET", "/v1/vpn/{name}/status"): ("/v1/vpn/office/status", None, NO_TUNNEL),
    ("GET", "/v1/vpn/{name}/log"): ("/v1/vpn/nowhere/log", None, NO_TUNNEL),
    ("POST", "/v1/vpn/{name}/initiate"): ("/v1/vpn/nowhere/initiate", None, NO_TUNNEL_MOVED),
    ("POST", "/v1/vpn/{name}/terminate"): ("/v1/vpn/nowhere/terminate", None, NO_TUNNEL_MOVED),
    ("POST", "/v1/vpn/{name}/debug"): ("/v1/vpn/nowhere/debug", None, NO_TUNNEL_MOVED),
    ("POST", "/v1/nodes/{name}/tunnels"): ("/v1/nodes/n1/tunnels", {}, FOLLOW),
    ("POST", "/v1/nodes/{name}/gateways"): ("/v1/nodes/n1/gateways", {}, FOLLOW),
    ("GET", "/v1/vpn/{name}/peer-config"): ("/v1/vpn/office/peer-config", None, NO_TUNNEL),
    ("POST", "/v1/vpn/plan"): ("/v1/vpn/plan", {"document": {"version": 1}, "keep": True}, CHANGE),
    ("POST", "/v1/vpn/{name}/promote"): ("/v1/vpn/office/promote", {"node": "n1"}, NO_TUNNEL_MOVED),
    ("GET", "/v1/accounts"): ("/v1/accounts", None, GOVERN),
    ("POST", "/v1/accounts/{issuer}/change-key"): ("/v1/accounts/i/change-key", None, REKEY),
    ("GET", "/v1/keys"): ("/v1/keys", None, GOVERN),
    ("POST", "/v1/keys/rotate"): ("/v1/keys/rotate", None, GOVERN),
    ("GET", "/v1/listen"): ("/v1/listen", None, READ_DEFAULT),
    ("PUT", "/v1/listen"): ("/v1/listen?take_over=true", LISTEN, GOVERN),
    ("DELETE", "/v1/listen"): ("/v1/listen?take_over=true", None, GOVERN),
    ("GET", "/v1/cache"): ("/v1/cache", None, READ_DEFAULT),
    ("PUT", "/v1/cache"): ("/v1/cache?take_over=true", {"resident": 20}, GOVERN),
    ("DELETE", "/v1/cache"): ("/v1/cache?take_over=true", None, GOVERN),
    ("GET", "/v1/budgets"): ("/v1/budgets", None, READ_DEFAULT),
    ("PUT", "/v1/budgets"): ("/v1/budgets?take_over=true", {"in_all": 20}, GOVERN),
    ("DELETE", "/v1/budgets"): ("/v1/budgets?take_over=true", None, GOVERN),
    ("GET", "/v1/alarms"): ("/v1/alarms", None, READ_DEFAULT),
    ("PUT", "/v1/alarms"): ("/v1/alarms?take_over=true", {"webhook": "https://a.example/x"}, GOVERN),
    ("DELETE", "/v1/alarms"): ("/v1/alarms?take_over=true", None, GOVERN),
    ("GET", "/v1/openresty"): ("/v1/openresty", None, READ_DEFAULT),
    ("PUT", "/v1/openresty"): ("/v1/openresty?take_over=true", {"secret": "s" * 16}, GOVERN),
    ("DELETE", "/v1/openresty"): ("/v1/openresty?take_over=true", None, GOVERN),
    ("GET", "/v1/issuers"): ("/v1/issuers", None, READ),
    ("GET", "/v1/issuers/{name}"): ("/v1/issuers/i?project=default", None, READ_DEFAULT),
    ("PUT", "/v1/issuers/{name}"): ("/v1/issuers/mine", {"local": {}}, ISSUERS),
    ("DELETE", "/v1/issuers/{name}"): ("/v1/issuers/mine", None, ISSUERS),
    ("GET", "/v1/tcp_routes"): ("/v1/tcp_routes", None, READ),
    ("GET", "/v1/tcp_routes/{name}"): ("/v1/tcp_routes/t?project=default", None, READ_DEFAULT),
    ("PUT", "/v1/tcp_routes/{name}"): ("/v1/tcp_routes/new", {"listen": ":8026", "service": "raw"}, GOVERN),
    ("DELETE", "/v1/tcp_routes/{name}"): ("/v1/tcp_routes/new", None, GOVERN),
}
for kind, there, name, value in (
    ("domains", "shop.example", "new.example", {}),
    ("withheld", "off.example", "new.example", {}),
    ("services", "shop", "new", SERVICE),
    ("routes", "r", "new", {"hosts": ["new.example"], "service": "new"}),
    ("vpn", "berlin", "new", {**SITE, "peer": "198.51.100.10"}),
    ("networks", "net", "new", {}),
    ("subnets", "sub", "new", {"network": "new", "cidr": "10.8.0.0/24"}),
    ("routers", "gw", "new", {"gateway": {"network": "net"}, "interfaces": [INSIDE]}),
    ("ikepolicies", "ike", "new", {}),
    ("ipsecpolicies", "ipsec", "new", {}),
    ("vpnservices", "svc", "new", {"router": "new", "subnet": "new"}),
    ("endpoint_groups", "grp", "new", {"type": "cidr", "endpoints": ["10.9.0.0/24"]}),
    ("ipsec_site_connections", "con", "new", CONNECTION),
):
    ROUTES |= {
        ("GET", f"/v1/{kind}"): (f"/v1/{kind}", None, READ),
        ("GET", f"/v1/{kind}/{{name}}"): (f"/v1/{kind}/{there}?project=default", None, READ_DEFAULT),
        ("PUT", f"/v1/{kind}/{{name}}"): (f"/v1/{kind}/{name}", value, CHANGE),
        ("DELETE", f"/v1/{kind}/{{name}}"): (f"/v1/{kind}/{name}", None, CHANGE),
    }
DECLARED = {
    "listen": LISTEN,
    "cache": {},
    "budgets": {},
    "alarms": {},
    "openresty": {"secret": "s" * 16},
    "issuers": [{"name": "i", "local": {}}],
    "domains": [{"name": "shop.example"}, {"name": "off.example", "on_demand": True}],
    "withheld": [{"name": "off.example"}],
    "services": [{"name": "shop", **SERVICE}, {"name": "raw", "backends": ["tcp://b.example:25"]}],
    "tcp_routes": [{"name": "t", "listen": ":8025", "service": "raw"}],
    "vpn": [{"name": "berlin", **SITE}],
    "routes": [{"name": "r", "hosts": ["shop.example"], "service": "shop"}],
    "networks": [{"name": "net", "external": True}, {"name": "inner"}],
    "subnets": [{"name": "sub", "network": "inner", "cidr": "10.8.0.0/24"}],
    "routers": [
        {
            "name": "gw",
            "gateway": {"network": "net"},
            "interfaces": [{"subnet": "sub", "address": "10.8.0.1"}],
        }
    ],
    "ikepolicies": [{"name": "ike"}],
    "ipsecpolicies": [{"name": "ipsec"}],
    "vpnservices": [{"name": "svc", "router": "gw", "subnet": "sub"}],
    "endpoint_groups": [{"name": "grp", "type": "cidr", "endpoints": ["10.9.0.0/24"]}],
    "ipsec_site_connections": [
        {
            "name": "con",
            "vpnservice": "svc",
            "ikepolicy": "ike",
            "ipsecpolicy": "ipsec",
            "peer_cidrs": ["10.9.0.0/24"],
            "peer_address": "peer.example",
            "peer_id": "peer",
        }
    ],
}


async def headers_of(here, role: str) -> dict[str, str]:
    if role == "nobody":
        return {}
    if role == "node":
        return await here.node("n1")
    if role == "join":
        return await here.token("join", "node")
    name, _, project = role.partition("@")
    return await here.token(name, name, project)


async def ask(here, method: str, path: str, body: object, headers: dict[str, str]) -> int | str:
    try:
        async with asyncio.timeout(1):
            answer = await here.http.request(method, path, json=body, headers=headers)
    except TimeoutError:
        return IN if path.endswith("/watch") else "no answer"  # a feed goes on for ever
    if answer.status_code in (200, 201, 202, 204):
        return IN
    return answer.status_code


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_lets_in_whom_it_should(tmp_path, role):
    column = ROLES.index(role)
    async with controller(tmp_path) as here:
        boss = await here.token("boss", "admin")
        await here.node("n1")
        assert (await here.apply(boss, **DECLARED)).status_code == 200
        node = await here.node("n1")
        assert (await here.http.post("/v1/certificates/shop.example/obtain", headers=node)).status_code == 200
        async with here.parts.database.writing() as writing:
            waiting = Order("ordered.example", "default", "i", 0, queued=True)
            await queue.add(writing, [Wish(waiting, "new")], 0)
        headers = await headers_of(here, role)
        made = [route for route in ROUTES if route[0] != "DELETE"]
        order = made + [route for route in reversed(ROUTES) if route[0] == "DELETE"]
        found = {
            route: await ask(here, route[0], ROUTES[route][0], ROUTES[route][1], headers) for route in order
        }

    assert found == {route: ROUTES[route][2][column] for route in order}


async def test_the_matrix_has_every_route(tmp_path):
    async with controller(tmp_path) as here:
        paths = here.parts.app.openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}

    assert routes | {("GET", "/openapi.json")} == set(ROUTES)
