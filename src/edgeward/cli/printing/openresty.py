"""How OpenResty gateways are, as people like to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeward.cli.printing import show

Data = Mapping[str, Any]


def troubles(status: Data) -> Iterator[str]:
    """Give what of it needs a person, one sentence each."""
    if problem := status.get("problem"):
        yield f"the facade for OpenResty is not served: {problem}"
    redis = status.get("redis") or {}
    if redis.get("state") == "failing":
        yield f"the redis of the OpenResty gateways cannot be primed: {redis.get('reason')}"
    for gateway in status.get("gateways") or ():
        if gateway.get("state") == "failing":
            yield f"the cache of a gateway cannot be emptied: {gateway.get('reason')}"


def show_status(status: Data, now: float) -> None:
    if not status:
        return
    show.console().print()
    show.line(f"openresty: on {', '.join(status.get('listen') or ()) or 'no address'}{_elsewhere(status)}")
    if redis := status.get("redis"):
        written = f"{redis.get('written', 0):,} certificates written"
        show.line(f"redis: {redis.get('url')}, {redis.get('state')}, {written}, PRIVATE KEYS IN PLAIN TEXT")
    if gateways := status.get("gateways"):
        show.table(
            ["gateway", "state", "flushed", "flushes", "valid", "failed", "client"], _gateways(gateways, now)
        )


def _elsewhere(status: Data) -> str:
    return "" if status.get("here") else "; another controller keeps the gateways up to date"


def _gateways(gateways: Any, now: float) -> Iterator[list[object]]:
    for one in gateways:
        state, cached = str(one.get("state")), one.get("cached") or {}
        yield [
            one.get("url"),
            show.bad(state) if state == "failing" else show.good(state),
            show.moment(one.get("flushed"), now),
            one.get("flushes"),
            cached.get("valid"),
            cached.get("invalid"),
            cached.get("client"),
        ]
