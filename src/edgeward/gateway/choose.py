"""Which route a request takes: what Envoy does with our configuration, said in a few lines.

The same order as ``gateway.envoy.route``: the host's own routes and those of wildcards above it in the
same projects; exact paths before regular expressions before longer prefixes; among equal paths the
nearest host pattern first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import re2

from edgeward.gateway.model import Route

_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Side:
    """A service, and the percentage of requests that go to it."""

    service: str
    share: float


@dataclass(frozen=True)
class Choice:
    """The route taken, with the host and path it matched by."""

    route: Route
    host: str
    path: str


def routes_of_host(routes: Iterable[Route], host: str) -> list[tuple[str, Route]]:
    """Give the routes that may serve a host, each with the pattern it says, the nearest first."""
    by_host: dict[str, list[Route]] = {}
    patterns = [host, *_wildcards_over(host)]
    for route in routes:
        for pattern in route.hosts:
            if pattern in patterns:
                by_host.setdefault(pattern, []).append(route)
    found: list[tuple[str, Route]] = []
    for pattern in patterns:
        projects = {route.project for _, route in found}
        if found and found[0][1].tls == "passthrough":
            break  # such a host is read nowhere, so no other route is looked for
        found += [
            (pattern, r)
            for r in by_host.get(pattern, ())
            if not found or (r.project in projects and r.tls == "terminate")
        ]
    return found


def choose(
    routes: Iterable[Route], host: str, path: str, method: str = "GET", headers: Mapping[str, str] = _NONE
) -> Choice | None:
    """Give the route of a request with these headers (names in lower case), or None where it gets 404."""
    level = {pattern: number for number, pattern in enumerate((host, *_wildcards_over(host)))}
    ranked = [
        (_rank(route, pattern, level[host_pattern]), Choice(route, host_pattern, pattern))
        for host_pattern, route in routes_of_host(routes, host)
        for pattern in route.paths
        if _has(headers, route.headers) and _has_method(route, method) and _matches(pattern, path)
    ]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def sides(route: Route, headers: Mapping[str, str] = _NONE) -> tuple[Side, ...]:
    """Give the services a request with these headers may go to; more than one where it is by share."""
    if route.service is None:
        return ()
    canary = route.canary
    if canary is not None and canary.headers and _has(headers, canary.headers):
        return (Side(canary.service, 100.0),)
    if canary is None or not canary.parts:
        return (Side(route.service, 100.0),)
    share = canary.parts / 10_000
    both = (Side(canary.service, share), Side(route.service, round(100 - share, 4)))
    return tuple(side for side in both if side.share)


def _has(headers: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(headers.get(name) == value for name, value in wanted.items())


def _wildcards_over(host: str) -> Sequence[str]:
    labels = host.split(".")
    return [*("*." + ".".join(labels[index:]) for index in range(1, len(labels) - 1)), "*"]


def _has_method(route: Route, method: str) -> bool:
    return not route.methods or method in route.methods


def _matches(pattern: str, path: str) -> bool:
    bare = path.partition("?")[0]
    if pattern.startswith("="):
        return bare == pattern[1:]
    if pattern.startswith("~"):
        return re2.fullmatch(pattern[1:], bare) is not None
    if pattern.endswith("/"):
        return bare.startswith(pattern)
    return bare == pattern or bare.startswith(pattern + "/")


def _rank(route: Route, path: str, level: int) -> tuple[object, ...]:
    kind = {"=": 0, "~": 1}.get(path[0], 2)
    length = -len(path) if kind == 2 else 0
    return (kind, length, level, -len(route.headers), not route.methods, route.name, path)
