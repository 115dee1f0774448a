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

import re2

from edgeward.gateway.envoy import hardening, proxied
from edgeward.gateway.envoy.gateway import Gateway, cluster_name
from edgeward.gateway.model import Address, HeaderChange, Redirect, Retries, Route, Service, Timeouts
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_Group = tuple[tuple[Route, ...], list[str]]
_MOST_OWN = 1000
"""Hosts up to which each has a virtual host of its own."""
HTTPS_ROUTES, HTTP_ROUTES = "https", "http"
_PEER = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
_SET = m.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_ADD = m.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
_REDIRECTS = {
    301: m.RedirectAction.MOVED_PERMANENTLY,
    302: m.RedirectAction.FOUND,
    303: m.RedirectAction.SEE_OTHER,
    307: m.RedirectAction.TEMPORARY_REDIRECT,
    308: m.RedirectAction.PERMANENT_REDIRECT,
}
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"


def used_services(gateway: Gateway) -> tuple[Service, ...]:
    """Give the services that some route leads to, by name."""
    used = {(r.project, r.service) for r in gateway.routes if r.service is not None}
    found = (s for s in gateway.services if (s.project, s.name) in used)
    return tuple(sorted(found, key=lambda s: (s.project, s.name)))


def route_configurations(gateway: Gateway) -> tuple[Resource, Resource]:
    """Give the two route configurations: for HTTPS listeners and for plain HTTP ones."""
    groups = _hosts_by_routes(gateway.routes)
    if left_open := _left_open(gateway):
        groups.append(((), left_open))
    services = {(s.project, s.name): s for s in gateway.services}
    default = gateway.listen.default_domain
    secure = [
        _virtual_host(hosts, [_secure(r, services) for r in routes], _denials_of(hosts, default))
        for routes, hosts in _own_where_few(groups)
    ]
    port = _https_port(gateway)
    plain = [
        _virtual_host(hosts, [_plain(r, services, port) for r in routes], {}) for routes, hosts in groups
    ]
    client = proxied.CLIENT if gateway.listen.proxy_protocol else None
    return (_configuration(HTTPS_ROUTES, secure, client), _configuration(HTTP_ROUTES, plain, client))


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
            _option("x-forwarded-for", address, _ADD),
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
    projects = {r.project for r in found}
    levels = [found]
    for wildcard in _wildcards_above(host):
        if wildcard in own:
            levels.append([r for r in own[wildcard] if r.project in projects])
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


# --- one route --------------------------------------------------------------------------------


def _secure(route: Route, services: dict[tuple[str, str], Service]) -> list[tuple[Any, Any]]:
    return [(_rank(route, path), _message(route, path, services, hsts=True)) for path in route.paths]


def _plain(route: Route, services: dict[tuple[str, str], Service], port: int) -> list[tuple[Any, Any]]:
    if route.http == "refuse":
        return []
    if route.http == "serve":
        return [(_rank(route, path), _message(route, path, services, hsts=False)) for path in route.paths]
    upgrade = m.RedirectAction(
        https_redirect=True,
        port_redirect=0 if port == 443 else port,
        response_code=m.RedirectAction.PERMANENT_REDIRECT,
    )
    return [
        (_rank(route, path), m.Route(match=_match(route, path), redirect=upgrade)) for path in route.paths
    ]


def _rank(route: Route, path: str) -> tuple[Any, ...]:
    """Give the order within a host: exact paths, then regular expressions, then longer prefixes first;
    among equal paths the route that asks for more goes first, then the name decides."""
    kind = {"=": 0, "~": 1}.get(path[0], 2)
    return (kind, -len(path) if kind == 2 else 0, -len(route.headers), not route.methods, route.name, path)


def _message(route: Route, path: str, services: dict[tuple[str, str], Service], *, hsts: bool) -> Any:
    message = m.Route(match=_match(route, path), name=f"{route.project}/{route.name}")
    _change_headers(message, route, hsts=hsts)
    if route.redirect is not None:
        message.redirect.CopyFrom(_redirect(route.redirect))
        return message
    service = services.get((route.project, str(route.service)))
    timeouts = route.timeouts or (service.timeouts if service else Timeouts())
    retries = route.retries or (service.retries if service else Retries())
    message.route.CopyFrom(
        m.RouteAction(
            cluster=cluster_name(route.project, str(route.service)),
            cluster_not_found_response_code=m.RouteAction.SERVICE_UNAVAILABLE,
            timeout=m.seconds(timeouts.response or 0.0),
            idle_timeout=m.seconds(timeouts.idle),
        )
    )
    if retries.attempts:
        message.route.retry_policy.CopyFrom(_retry(retries))
    if not route.preserve_host:
        message.route.auto_host_rewrite.value = True
        message.route.append_x_forwarded_host = True
    if route.strip_path and path != "/":
        message.route.regex_rewrite.CopyFrom(_strip(path))
    return message


def _match(route: Route, path: str) -> Any:
    match = m.RouteMatch(headers=[*_method_match(route.methods), *_header_match(route)])
    if path.startswith("="):
        match.path = path[1:]
    elif path.startswith("~"):
        match.safe_regex.CopyFrom(m.RegexMatcher(regex=path[1:]))
    elif path.endswith("/"):
        match.prefix = path
    else:
        match.path_separated_prefix = path
    return match


def _method_match(methods: Sequence[str]) -> list[Any]:
    if not methods:
        return []
    pattern = m.StringMatcher(safe_regex=m.RegexMatcher(regex="|".join(sorted(set(methods)))))
    return [m.HeaderMatcher(name=":method", string_match=pattern)]


def _header_match(route: Route) -> list[Any]:
    return [
        m.HeaderMatcher(name=name, string_match=m.StringMatcher(exact=value))
        for name, value in sorted(route.headers.items())
    ]


def _strip(path: str) -> Any:
    """``/api`` becomes ``/``, ``/api/x`` becomes ``/x``; prefix_rewrite would give ``//x``."""
    bare = path.rstrip("/")
    return m.RegexMatchAndSubstitute(pattern=m.RegexMatcher(regex=f"^{re2.escape(bare)}/*"), substitution="/")


def _redirect(redirect: Redirect) -> Any:
    action = m.RedirectAction(
        host_redirect=redirect.host or "",
        path_redirect=redirect.path or "",
        response_code=_REDIRECTS[redirect.status],
    )
    if redirect.scheme is not None:
        action.scheme_redirect = redirect.scheme
    return action


def _retry(retries: Retries) -> Any:
    policy = m.RetryPolicy(
        retry_on=_RETRY_ON,
        num_retries=m.UInt32Value(value=retries.attempts),
        host_selection_retry_max_attempts=5,
        retry_host_predicate=[
            m.RetryPolicy.RetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts",
                typed_config=m.AnyMessage(type_url=_PREVIOUS_HOSTS),
            )
        ],
    )
    if retries.try_timeout is not None:
        policy.per_try_timeout.CopyFrom(m.seconds(retries.try_timeout))
    if retries.statuses:
        policy.retry_on += ",retriable-status-codes"
        policy.retriable_status_codes.extend(retries.statuses)
        policy.retriable_request_headers.extend(_method_match(("GET", "HEAD", "OPTIONS")))
    return policy


_PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"


# --- headers ----------------------------------------------------------------------------------


def _change_headers(message: Any, route: Route, *, hsts: bool) -> None:
    message.request_headers_to_add.extend(_options(route.request_headers))
    message.request_headers_to_remove.extend(route.request_headers.remove)
    message.response_headers_to_add.extend(_options(route.response_headers))
    message.response_headers_to_remove.extend(route.response_headers.remove)
    if hsts and route.hsts is not None:
        value = f"max-age={route.hsts.max_age}"
        value += "; includeSubDomains" if route.hsts.include_subdomains else ""
        value += "; preload" if route.hsts.preload else ""
        message.response_headers_to_add.append(_option("strict-transport-security", value, _SET))


def _options(change: HeaderChange) -> list[Any]:
    return [
        *(_option(n, _literal(v), _SET) for n, v in sorted(change.set.items())),
        *(_option(n, _literal(v), _ADD) for n, v in sorted(change.add.items())),
    ]


def _option(name: str, value: str, action: Any) -> Any:
    return m.HeaderValueOption(
        header=m.HeaderValue(key=name, value=value), append_action=action, keep_empty_value=True
    )


def _literal(value: str) -> str:
    """Envoy reads %…% in header values as commands; a doubled sign stands for itself."""
    return value.replace("%", "%%")


def _https_port(gateway: Gateway) -> int:
    return Address.parse(gateway.listen.https[0]).port if gateway.listen.https else 443
