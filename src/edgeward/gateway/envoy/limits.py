"""Rate limits: one filter for all routes, off but where a route turns it on.

Its buckets come apart from listeners and routes, by extension discovery: a listener that changes drains its
connections, and every change of any route would fill the buckets of a route's own filter anew. A route
says in its metadata which buckets are its own, so its hosts and paths share them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from edgeward.gateway.envoy.cluster import ads
from edgeward.gateway.model import ByHeader, RateLimit, Route
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

NAME = "edgeward.rate_limits"
"""Of the filter, and of its configuration."""
_MOST_CLIENTS = 10_000
"""Buckets of clients held for each limit; the one used longest ago leaves first."""
_TICK_SECONDS = 0.05
_UNBOUND = 2**32 - 1
_HALF_NETWORK = 64
_SHORT = r"\C{1,128}"
_RETRY = "retry"
_Action = m.RateLimit.Action


def http_filter() -> Any:
    """Give the filter for every chain; without a route that asks for it, a request does not meet it."""
    source = m.ExtensionConfigSource(
        config_source=ads(), type_urls=[m.type_url(m.LocalRateLimit)], default_config=m.packed(_limiter([]))
    )
    return m.HttpFilter(name=NAME, config_discovery=source, disabled=True)


def buckets(routes: Iterable[Route]) -> Resource:
    """Give the filter's configuration: the buckets of all routes."""
    limited = sorted((r for r in routes if r.rate_limits), key=lambda r: (r.project, r.name))
    return resource(m.extension(NAME, _limiter(limited)), NAME, "routes")


def limit(message: Any, route: Route) -> None:
    """Have a route's message ask for its buckets."""
    if not route.rate_limits:
        return
    mine: dict[str, str] = {slot: identity for slot, identity, _ in _slots(route)}
    mine[_RETRY] = str(max(math.ceil(limit.per / limit.requests) for limit in route.rate_limits))
    message.metadata.filter_metadata[NAME].update(mine)
    message.typed_per_filter_config[NAME].CopyFrom(m.packed(m.FilterConfig(config=m.AnyMessage())))


def _slots(route: Route) -> Iterator[tuple[str, str, RateLimit]]:
    """Give where in its metadata a route names each bucket, the bucket's name, and its limit."""
    counts: dict[str, int] = {}
    for number, limit in enumerate(route.rate_limits):
        by = limit.by.header if isinstance(limit.by, ByHeader) else limit.by
        kind = f"header {by}" if isinstance(limit.by, ByHeader) else by
        counts[kind] = counts.get(kind, 0) + 1
        yield f"{kind} {counts[kind]}", f"{route.project}/{route.name} {number}", limit


def _limiter(limited: list[Route]) -> Any:
    config = m.LocalRateLimit(
        stat_prefix="edge",
        status=m.HttpStatus(code=429),
        token_bucket=_bucket(_UNBOUND, _UNBOUND, _TICK_SECONDS),
        filter_enabled=_always(),
        filter_enforced=_always(),
        enable_x_ratelimit_headers=m.RATE_LIMIT_HEADERS_DRAFT_3,
        rate_limited_as_resource_exhausted=True,
        max_dynamic_descriptors=m.UInt32Value(value=_MOST_CLIENTS),
        always_consume_default_token_bucket=m.BoolValue(value=False),
        response_headers_to_add=[
            m.HeaderValueOption(
                header=m.HeaderValue(key="retry-after", value=f"%METADATA(ROUTE:{NAME}:{_RETRY})%")
            )
        ],
    )
    asked: dict[str, RateLimit] = {}
    for route in limited:
        for slot, identity, limit in _slots(route):
            asked.setdefault(slot, limit)
            config.descriptors.extend(_descriptors(identity, limit))
    for slot, limit in sorted(asked.items()):
        config.rate_limits.extend(m.RateLimit(actions=actions) for actions in _questions(slot, limit))
    return config


def _questions(slot: str, limit: RateLimit) -> list[list[Any]]:
    """Give what a request is asked for the buckets that routes name in one slot; no name, no bucket."""
    path = m.MetadataKey.PathSegment(key=slot)
    named = _Action(
        metadata=_Action.MetaData(
            descriptor_key="limit",
            metadata_key=m.MetadataKey(key=NAME, path=[path]),
            source=_Action.MetaData.ROUTE_ENTRY,
        )
    )
    address = _Action(
        masked_remote_address=_Action.MaskedRemoteAddress(
            v4_prefix_mask_len=m.UInt32Value(value=32), v6_prefix_mask_len=m.UInt32Value(value=_HALF_NETWORK)
        )
    )
    if limit.by == "route":
        return [[named]]
    if limit.by == "client":
        return [[named, address]]
    header = limit.by.header
    value = _Action(request_headers=_Action.RequestHeaders(header_name=header, descriptor_key="header"))
    return [
        [named, _short(header, True), value],
        [named, _short(header, False), address],
    ]


def _short(name: str, expected: bool) -> Any:
    """Whether the header is there and short: buckets are held under its value, so it must not be long."""
    short = m.StringMatcher(safe_regex=m.RegexMatcher(regex=_SHORT))
    return _Action(
        header_value_match=_Action.HeaderValueMatch(
            descriptor_value="told" if expected else "untold",
            expect_match=m.BoolValue(value=expected),
            headers=[m.HeaderMatcher(name=name, string_match=short)],
        )
    )


def _descriptors(identity: str, limit: RateLimit) -> list[Any]:
    """Give the buckets of one limit; an entry without a value stands for a bucket for each value."""
    bucket = _bucket(limit.burst or limit.requests, limit.requests, limit.per)
    address = ("masked_remote_address", "")
    if limit.by == "route":
        keys: list[list[tuple[str, str]]] = [[]]
    elif limit.by == "client":
        keys = [[address]]
    else:
        keys = [[("header_match", "told"), ("header", "")], [("header_match", "untold"), address]]
    return [
        m.LocalRateLimitDescriptor(
            entries=[
                m.RateLimitDescriptor.Entry(key=key, value=value)
                for key, value in (("limit", identity), *entries)
            ],
            token_bucket=bucket,
        )
        for entries in keys
    ]


def _bucket(most: int, added: int, seconds: float) -> Any:
    return m.TokenBucket(
        max_tokens=most, tokens_per_fill=m.UInt32Value(value=added), fill_interval=m.seconds(seconds)
    )


def _always() -> Any:
    whole = m.FractionalPercent(numerator=100, denominator=m.FractionalPercent.HUNDRED)
    return m.RuntimeFractionalPercent(default_value=whole)
