"""One route as Envoy's messages: what it matches, and what happens to a request that does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import re2

from edgeward.gateway.envoy.gateway import cluster_name
from edgeward.gateway.envoy.hashing import hash_policies
from edgeward.gateway.envoy.headers import change_headers
from edgeward.gateway.model import Redirect, Retries, Route, Service, Timeouts
from edgeward.xds import messages as m

_REDIRECTS = {
    301: m.RedirectAction.MOVED_PERMANENTLY,
    302: m.RedirectAction.FOUND,
    303: m.RedirectAction.SEE_OTHER,
    307: m.RedirectAction.TEMPORARY_REDIRECT,
    308: m.RedirectAction.PERMANENT_REDIRECT,
}
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"


Services = Mapping[tuple[str, str], Service]
Ranked = tuple[tuple[Any, ...], Any]
"""A message, and its place among those of its host."""


def leads_to(route: Route) -> tuple[tuple[str, str], ...]:
    """Give the services, by project and name, that a route's requests may go to."""
    return () if route.service is None else ((route.project, route.service),)


def secure(route: Route, level: int, services: Services) -> list[Ranked]:
    """Give the messages of a route over HTTPS; ``level``: how far above the host its pattern is."""
    if route.tls == "passthrough":
        return []
    return [
        (_rank(route, path, level), _message(route, path, services, over_tls=True)) for path in route.paths
    ]


def plain(route: Route, level: int, services: Services, port: int) -> list[Ranked]:
    """Give the messages of a route over plain HTTP; ``port``: where HTTPS is."""
    if route.http == "refuse":
        return []
    if route.http == "serve":
        return [
            (_rank(route, path, level), _message(route, path, services, over_tls=False))
            for path in route.paths
        ]
    return [(_rank(route, path, level), upgrade(_match(route, path), port)) for path in route.paths]


def upgrade(match: Any, port: int) -> Any:
    """Redirect to the same place over HTTPS."""
    action = m.RedirectAction(
        https_redirect=True,
        port_redirect=0 if port == 443 else port,
        response_code=m.RedirectAction.PERMANENT_REDIRECT,
    )
    return m.Route(match=match, redirect=action)


def _rank(route: Route, path: str, level: int) -> tuple[Any, ...]:
    """Give the order within a host: exact paths, then regular expressions, then longer prefixes first;
    among equal paths the host's own before those of wildcards above it, then the route that asks for
    more, then the name decides."""
    kind = {"=": 0, "~": 1}.get(path[0], 2)
    length = -len(path) if kind == 2 else 0
    return (kind, length, level, -len(route.headers), not route.methods, route.name, path)


def _message(route: Route, path: str, services: Services, *, over_tls: bool) -> Any:
    message = m.Route(match=_match(route, path), name=f"{route.project}/{route.name}")
    change_headers(message, route, hsts=over_tls)
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
            hash_policy=hash_policies(service, secure=over_tls),
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


def _header_match(route: Route) -> list[Any]:
    return [
        m.HeaderMatcher(name=name, string_match=m.StringMatcher(exact=value))
        for name, value in sorted(route.headers.items())
    ]


def _method_match(methods: Sequence[str]) -> list[Any]:
    if not methods:
        return []
    pattern = m.StringMatcher(safe_regex=m.RegexMatcher(regex="|".join(sorted(set(methods)))))
    return [m.HeaderMatcher(name=":method", string_match=pattern)]


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
