"""One route as Envoy's messages: what it matches, and what happens to a request that does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import re2

from edgeward.gateway.envoy.gateway import cluster_name
from edgeward.gateway.envoy.hashing import client_address, hash_policies
from edgeward.gateway.envoy.headers import change_headers, literal, replaced
from edgeward.gateway.envoy.limits import limit
from edgeward.gateway.model import Canary, Redirect, Retries, Route, Service, Timeouts
from edgeward.xds import messages as m

_REDIRECTS = {
    301: m.RedirectAction.MOVED_PERMANENTLY,
    302: m.RedirectAction.FOUND,
    303: m.RedirectAction.SEE_OTHER,
    307: m.RedirectAction.TEMPORARY_REDIRECT,
    308: m.RedirectAction.PERMANENT_REDIRECT,
}
_WHOLE = 1_000_000
_REPEATABLE = ("GET", "HEAD", "OPTIONS")
_ASKED = "%QUERY_PARAMS(ORIG)%"
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"


Services = Mapping[tuple[str, str], Service]
Ranked = tuple[tuple[Any, ...], Any]
"""A message, and its place among those of its host."""


def leads_to(route: Route) -> tuple[tuple[str, str], ...]:
    """Give the services, by project and name, that a route's requests may go to."""
    return tuple((route.project, name) for name in route.services)


def secure(route: Route, level: int, services: Services) -> list[Ranked]:
    """Give the messages of a route over HTTPS; ``level``: how far above the host its pattern is."""
    if route.tls == "passthrough":
        return []
    return _ranked(route, level, services, None)


def plain(route: Route, level: int, services: Services, port: int) -> list[Ranked]:
    """Give the messages of a route over plain HTTP; ``port``: where HTTPS is."""
    if route.http == "serve":
        return _ranked(route, level, services, port)
    if route.http == "refuse":  # said in words: else the next route that takes the path would have it
        return [(_rank(route, path, level), _refused(route, path)) for path in route.paths]
    return [(_rank(route, path, level), upgrade(_match(route, path), port)) for path in route.paths]


def upgrade(match: Any, port: int) -> Any:
    """Redirect to the same place over HTTPS."""
    action = m.RedirectAction(
        https_redirect=True,
        port_redirect=_said(port),
        response_code=m.RedirectAction.PERMANENT_REDIRECT,
    )
    return m.Route(match=match, redirect=action)


def _said(https_port: int) -> int:
    """Give what stands in a URL of HTTPS; 0: nothing."""
    return 0 if https_port == 443 else https_port


def _refused(route: Route, path: str) -> Any:
    return m.Route(
        match=_match(route, path),
        name=f"{route.project}/{route.name}",
        direct_response=m.DirectResponse(status=404),
    )


def _ranked(route: Route, level: int, services: Services, port: int | None) -> list[Ranked]:
    """Give the route's messages; requests whose headers ask for the canary have one of their own, first.

    ``port``: where HTTPS is, of those over plain HTTP; None: of those over TLS.
    """
    found, over_tls = [], port is None
    for path in route.paths:
        rank = _rank(route, path, level)
        if route.canary is not None and route.canary.headers:
            action = _action(route, path, route.canary.service, services, over_tls=over_tls)
            for number, asked in enumerate(_messages(route, path, action, over_tls=over_tls)):
                asked.match.headers.extend(_header_match(route.canary.headers))
                found.append(((*rank, 0, number), asked))
        if route.redirect is not None:
            usual = _redirected(route, route.redirect, path, port)
        else:
            usual = _messages(route, path, _usual(route, path, services, over_tls), over_tls=over_tls)
        found += [((*rank, 1, number), message) for number, message in enumerate(usual)]
    return found


def _rank(route: Route, path: str, level: int) -> tuple[Any, ...]:
    """Give the order within a host: exact paths, then regular expressions, then longer prefixes first;
    among equal paths the host's own before those of wildcards above it, then the route that asks for
    more, then the name decides."""
    kind = {"=": 0, "~": 1}.get(path[0], 2)
    length = -len(path) if kind == 2 else 0
    return (kind, length, level, -len(route.headers), not route.methods, route.name, path)


def _redirected(route: Route, redirect: Redirect, path: str, port: int | None) -> Iterator[Any]:
    """Give the messages of a redirect; where only the path changes, visitors are told that alone: by which
    port they came, a load balancer's maybe, nobody knows here.
    """
    message = _message(route, path, None, over_tls=port is None)
    message.redirect.CopyFrom(_redirect(redirect, port))
    to = redirect.path or ""
    here = "https" if port is None else "http"
    if redirect.host is not None or redirect.scheme not in (None, here) or not re.match("/(?!/)", to):
        yield message
        return
    if "?" not in to and "#" not in to:  # else what the visitor asks is not kept (path_redirect)
        asking = m.Route.FromString(message.SerializeToString())
        asking.match.headers.append(m.HeaderMatcher(name=":path", string_match=m.StringMatcher(contains="?")))
        asking.response_headers_to_add.insert(0, replaced("location", f"{literal(to)}?{_ASKED}"))
        yield asking
    message.response_headers_to_add.insert(0, replaced("location", literal(to)))
    yield message


def _messages(route: Route, path: str, action: Any, *, over_tls: bool) -> Iterator[Any]:
    """Give the message; two, the narrower first, where answers are tried again for some methods only. Envoy's
    ``retriable_request_headers`` would keep the others from being tried again where no backend is reached.
    """
    some = tuple(method for method in route.methods or _REPEATABLE if method in _REPEATABLE)
    if action.retry_policy.retriable_status_codes:
        if some:
            narrow = route.model_copy(update={"methods": some})
            yield _message(narrow, path, action, over_tls=over_tls)
        if some == route.methods:
            return
        action.retry_policy.ClearField("retriable_status_codes")
        action.retry_policy.retry_on = _RETRY_ON
    yield _message(route, path, action, over_tls=over_tls)


def _message(route: Route, path: str, action: Any, *, over_tls: bool) -> Any:
    """Give the message; ``action``: None for a redirect, which is not in it yet."""
    message = m.Route(match=_match(route, path), name=f"{route.project}/{route.name}")
    change_headers(message, route, hsts=over_tls)
    limit(message, route)
    if action is not None:
        message.route.CopyFrom(action)
    return message


def _usual(route: Route, path: str, services: Services, over_tls: bool) -> Any:
    """Give what happens to a request that no header sends to the canary."""
    action = _action(route, path, str(route.service), services, over_tls=over_tls)
    if route.canary is not None and route.canary.share is not None:
        _split(action, route, route.canary, services, over_tls=over_tls)
    return action


def _split(action: Any, route: Route, canary: Canary, services: Services, *, over_tls: bool) -> None:
    """Let a share go to the canary: the lowest hashes, so that a growing share keeps whom it has."""
    shares = ((canary.service, canary.parts), (str(route.service), _WHOLE - canary.parts))
    action.weighted_clusters.clusters.extend(
        m.WeightedCluster.ClusterWeight(
            name=cluster_name(route.project, name), weight=m.UInt32Value(value=parts)
        )
        for name, parts in shares
    )
    if not action.hash_policy:
        other = services.get((route.project, canary.service))
        action.hash_policy.extend(hash_policies(other, secure=over_tls))
    if canary.sticky:
        action.weighted_clusters.use_hash_policy.value = True
        if not action.hash_policy:
            action.hash_policy.append(client_address())


def _action(route: Route, path: str, name: str, services: Services, *, over_tls: bool) -> Any:
    service = services.get((route.project, name))
    timeouts = route.timeouts or (service.timeouts if service else Timeouts())
    retries = route.retries or (service.retries if service else Retries())
    action = m.RouteAction(
        cluster=cluster_name(route.project, name),
        cluster_not_found_response_code=m.RouteAction.SERVICE_UNAVAILABLE,
        timeout=m.seconds(timeouts.response or 0.0),
        idle_timeout=m.seconds(timeouts.idle),
        hash_policy=hash_policies(service, secure=over_tls),
    )
    if retries.attempts:
        action.retry_policy.CopyFrom(_retry(retries))
    if not route.preserve_host:
        action.auto_host_rewrite.value = True
        action.append_x_forwarded_host = True
    if route.strip_path and path != "/":
        action.regex_rewrite.CopyFrom(_strip(path))
    return action


def _match(route: Route, path: str) -> Any:
    match = m.RouteMatch(headers=[*_method_match(route.methods), *_header_match(route.headers)])
    if path.startswith("="):
        match.path = path[1:]
    elif path.startswith("~"):
        match.safe_regex.CopyFrom(m.RegexMatcher(regex=path[1:]))
    elif path.endswith("/"):
        match.prefix = path
    else:
        match.path_separated_prefix = path
    return match


def _header_match(headers: Mapping[str, str]) -> list[Any]:
    return [
        m.HeaderMatcher(name=name, string_match=m.StringMatcher(exact=value))
        for name, value in sorted(headers.items())
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


def _redirect(redirect: Redirect, port: int | None) -> Any:
    action = m.RedirectAction(
        host_redirect=redirect.host or "",
        path_redirect=redirect.path or "",
        response_code=_REDIRECTS[redirect.status],
    )
    if redirect.scheme is not None:
        action.scheme_redirect = redirect.scheme
    if port is not None and redirect.scheme == "https" and redirect.host is None:
        action.port_redirect = _said(port)
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
    return policy


_PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
