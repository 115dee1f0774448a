"""What is said of a route's canary and rate limits where somebody asks about a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeward.gateway.choose import Choice, sides
from edgeward.gateway.model import ByHeader, RateLimit, Service


def key(choice: Choice) -> str | None:
    """Give ``project/service`` of the canary, where there is one."""
    canary = choice.route.canary
    return f"{choice.route.project}/{canary.service}" if canary else None


def shown(choice: Choice, services: Mapping[tuple[str, str], Service]) -> dict[str, Any] | None:
    canary = choice.route.canary
    if canary is None:
        return None
    service = services.get((choice.route.project, canary.service))
    return {
        "name": canary.service,
        "project": choice.route.project,
        "backends": [backend.url for backend in service.backends[:20]] if service else [],
        "share": canary.parts / 10_000,
        "headers": dict(canary.headers),
        "sticky": canary.sticky,
    }


def notes(choice: Choice) -> Iterator[str]:
    yield from _of_canary(choice)
    for limit in choice.route.rate_limits:
        requests = "1 request" if limit.requests == 1 else f"{limit.requests:,} requests"
        yield f"each node takes {requests} in {limit.per:g} s {_by(limit)}"


def _by(limit: RateLimit) -> str:
    if isinstance(limit.by, ByHeader):
        return f"for each value of {limit.by.header}"
    return "in all" if limit.by == "route" else "from each client"


def _of_canary(choice: Choice) -> Iterator[str]:
    canary = choice.route.canary
    if canary is None:
        return
    whom = "visitors" if canary.sticky else "requests"
    for side in sides(choice.route):
        if side.service == canary.service:
            yield f"{side.share:g} % of {whom} go to service '{canary.service}'"
    if canary.headers:
        said = ", ".join(f"{name}: {value}" for name, value in sorted(canary.headers.items()))
        yield f"requests with {said} go to service '{canary.service}'"
