"""Figures of what is done for OpenResty gateways; none where that is off or done by another controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeward.controller.metrics import Metrics


def tell(metrics: Metrics, shown: Mapping[str, Any] | None) -> None:
    shown = shown or {}
    gateways = shown.get("gateways") or ()
    well = {g["url"]: float(g["state"] == "flushed") for g in gateways}
    flushes = {g["url"]: float(g["flushes"]) for g in gateways}
    failures = {g["url"]: float(g["failures"]) for g in gateways}
    numbers, label = metrics.numbers, "gateway"
    numbers("edgeward_openresty_gateway_well", "1 where the last flush reached the gateway", label, well)
    numbers("edgeward_openresty_flushes", "Times a gateway's cache was emptied", label, flushes)
    numbers("edgeward_openresty_flush_failures", "Times that failed", label, failures)
    redis = shown.get("redis")
    primed = {} if redis is None else {redis["url"]: float(redis["state"] == "primed")}
    written = {} if redis is None else {redis["url"]: float(redis["written"])}
    numbers("edgeward_openresty_redis_primed", "1 where the gateways' Redis has everything", "redis", primed)
    numbers("edgeward_openresty_redis_written", "Certificates written to it", "redis", written)
