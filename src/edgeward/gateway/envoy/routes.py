"""Routes as Envoy route configurations; hosts with equal routes share one virtual host.

Measured with 100,000 domains: a change costs 25–70 ms and 105 MB this way, against 0.8–2.2 s and
640 MB with a virtual host for each.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from edgeward.gateway.envoy import hardening, proxied
from edgeward.gateway.envoy.gateway import Gateway
from edgeward.gateway.envoy.headers import ADD, option
from edgeward.gateway.envoy.route import plain, secure
from edgeward.gateway.model import Address, Route, Service
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_Group = tuple[tuple[Route, ...], list[str]]
_MOST_OWN = 1000
"""Hosts up to which each has a virtual host of its own."""
HTTPS_ROUTES, HTTP_ROUTES = "https", "http"
_PEER = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"


def used_services(gateway: Gateway) -> tuple[Service, ...]:
    """Give the services that some route leads to, by name."""
    used = {(r.project, r.service) for r in gateway.routes if r.service is not None}
    used |= {(r.project, r.service) for r in gateway.tcp_routes}
    found = (s for s in gateway.services if (s.project, s.name) in used)
    return tuple(sorted(found, key=lambda s: (s.project, s.name)))


def route_configurations(gateway: Gateway) -> tuple[Resource, Resource]:
    """Give the two route configurations: for HTTPS listeners and for plain HTTP ones."""
    groups = _hosts_by_routes(gateway.routes)
    if left_open := _left_open(gateway):
        groups.append(((), left_open))
    services = {(s.project, s.name): s for s in gateway.services}
    default = gateway.listen.default_domain
    over_tls = [
        _virtual_host(hosts, [secure(r, services) for r in routes], _denials_of(hosts, default))
        for routes, hosts in _own_where_few(groups)
    ]
    port = _https_port(gateway)
    without = [
        _virtual_host(hosts, [plain(r, services, port) for r in routes], {}) for routes, hosts in groups
    ]
    client = proxied.CLIENT if gateway.listen.proxy_protocol else None
    return (_configuration(HTTPS_ROUTES, over_tls, client), _configuration(HTTP_ROUTES, without, client))


def _own_where_few(groups: list[_Group]) -> list[_Group]:
    """Give every exact host a virtual host of its own while there are few: requests are cheaper there."""
    if sum(len(hosts) for _, hosts in groups) > _MOST_OWN:
        return groups
    found: list[_Group] = []
    for routes, hosts in groups:
        wild = [host for host in hosts if host.startswith("*.")]
        found += [(routes, [host]) for host in hosts if not host.startswith("*.")]
        found += [(routes, wild)] if wild else []
    return found


def _denials_of(hosts: Sequence[str], default_domain: str | None) -> dict[str, Any]:
    if len(hosts) > 1 or hosts[0].startswith("*."):
        return {}
    return {hardening.FILTER: hardening.denials_for(hosts[0], default_domain)}


def _configuration(name: str, virtual_hosts: list[Any], client: str | None) -> Resource:
    """``client``: the filter state that holds whom the PROXY protocol speaks for, where it is spoken."""
    address = f"%FILTER_STATE({client}:PLAIN)%" if client else _PEER
    message = m.RouteConfiguration(
        name=name,
        virtual_hosts=virtual_hosts,
        request_headers_to_remove=["x-envoy-external-address"],
        request_headers_to_add=[
            option("x-forwarded-for", address, ADD),
        ],
    )
    return resource(message, name, "routes")


def _hosts_by_routes(routes: Iterable[Route]) -> list[_Group]:
    """Group hosts by the routes they get: their own, then those of wildcards above, in their project."""
    own: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        for host in dict.fromkeys(route.hosts):
            own[host].append(route)
    groups: dict[tuple[tuple[str, str], ...], tuple[tuple[Route, ...], list[str]]] = {}
    for host in sorted(own):
        ordered = _for_host(host, own)
        identity = tuple((r.project, r.name) for r in ordered)
        groups.setdefault(identity, (ordered, []))[1].append(host)
    return list(groups.values())


def _for_host(host: str, own: dict[str, list[Route]]) -> tuple[Route, ...]:
    found = list(own[host])
    if any(r.tls == "passthrough" for r in found):
        return tuple(found)  # what its visitors ask for is not known here
    projects = {r.project for r in found}
    levels = [found]
    for wildcard in _wildcards_above(host):
        if wildcard in own:
            levels.append([r for r in own[wildcard] if r.project in projects and r.tls == "terminate"])
    return tuple({(r.project, r.name): r for level in levels for r in level}.values())


def _left_open(gateway: Gateway) -> list[str]:
    """Give domains without a route of their own that another project's wildcard would catch: Envoy's
    ``*.x.example`` also takes ``a.b.x.example``, and ``*.b.x.example`` may be another project's.
    """
    if len(set(gateway.domains.values())) < 2:
        return []
    projects = {host: route.project for route in gateway.routes for host in route.hosts}
    found = []
    for name, project in gateway.domains.items():
        if name not in projects:
            catching = next((w for w in _wildcards_above(name) if w in projects), None)
            if catching is not None and projects[catching] != project:
                found.append(name)
    return sorted(found)


def _wildcards_above(host: str) -> Iterable[str]:
    labels = host.removeprefix("*.").split(".")
    start = 0 if host.startswith("*.") else 1
    own = {host}
    for index in range(start, len(labels) - 1):
        wildcard = "*." + ".".join(labels[index:])
        if wildcard not in own:
            yield wildcard


def _virtual_host(hosts: list[str], ranked: list[list[tuple[Any, Any]]], filters: dict[str, Any]) -> Any:
    digest = hashlib.sha256("\n".join(hosts).encode()).hexdigest()[:16]
    pairs = sorted(itertools.chain.from_iterable(ranked), key=lambda pair: pair[0])
    ordered = [message for _, message in pairs]
    return m.VirtualHost(
        name=f"{hosts[0]} {digest}", domains=hosts, routes=ordered, typed_per_filter_config=filters
    )


def _https_port(gateway: Gateway) -> int:
    return Address.parse(gateway.listen.https[0]).port if gateway.listen.https else 443
