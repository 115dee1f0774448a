"""Kong's services and upstreams as our services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from edgeward.cli.imports.kong_parts import Notes, called, items, named, seconds
from edgeward.errors import Invalid
from edgeward.gateway.model import Service
from edgeward.parsing import parse

_SCHEMES: Final = {"http": "http", "https": "https", "grpc": "h2c", "grpcs": "h2", "tcp": "tcp"}
_PORTS: Final = {"https": 443, "h2": 443}
_BALANCES: Final = {
    "round-robin": "round_robin",
    "least-connections": "least_request",
    "latency": "least_request",
    "consistent-hashing": "ring_hash",
}
_MOST_WEIGHT: Final = 1000


def service(
    data: Mapping[str, Any], upstreams: Mapping[str, Mapping[str, Any]], notes: Notes
) -> dict[str, Any] | None:
    """Give a service, None where it cannot be taken over."""
    where = f"the service {called(data)}"
    if data.get("enabled") is False:
        notes.add(f"{where} is not enabled: left out with its routes")
        return None
    place = _place(data)
    scheme = _SCHEMES.get(place["protocol"])
    if scheme is None:
        notes.add(f"{where} speaks {place['protocol']}: left out with its routes")
        return None
    if not place["host"]:
        notes.add(f"{where} has no host: left out with its routes")
        return None
    if place["path"] not in (None, "", "/"):
        notes.add(f"{where}: the path {place['path']} is not put before what is forwarded")
    host, port = str(place["host"]), place["port"] or _PORTS.get(scheme, 80)
    upstream = upstreams.get(host)
    found: dict[str, Any] = {"name": named(data.get("name") or host)}
    if upstream is None:
        found["backends"] = [f"{scheme}://{_bracketed(host)}:{port}"]
    else:
        found["backends"] = _targets(upstream, scheme)
        found |= _balance(upstream, notes) | _health(upstream)
    found |= _limits(data)
    if scheme in ("https", "h2"):
        _verified(found, data, where, notes)
    try:
        parse(Service, found)
    except Invalid as error:
        notes.add(f"{where} is left out with its routes: {error}")
        return None
    return found


def _place(data: Mapping[str, Any]) -> dict[str, Any]:
    if data.get("url"):
        url = urlsplit(str(data["url"]))
        return {"protocol": url.scheme, "host": url.hostname, "port": url.port, "path": url.path}
    return {
        "protocol": str(data.get("protocol", "http")),
        "host": data.get("host"),
        "port": data.get("port"),
        "path": data.get("path"),
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _targets(upstream: Mapping[str, Any], scheme: str) -> list[Any]:
    targets = items(upstream, "targets")
    weights = [int(target.get("weight", 100)) for target in targets]
    most = max(weights, default=0)
    found: list[Any] = []
    for target, weight in zip(targets, weights, strict=True):
        text = str(target.get("target"))
        url = f"{scheme}://{text}" if text.rpartition(":")[2].isdigit() else f"{scheme}://{text}:8000"
        share = weight if most <= _MOST_WEIGHT else round(weight * _MOST_WEIGHT / most)
        found.append(url if len(set(weights)) == 1 and share else {"url": url, "weight": share})
    return found


def _balance(upstream: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    where = f"the upstream {called(upstream)}"
    algorithm = str(upstream.get("algorithm", "round-robin"))
    balance = _BALANCES.get(algorithm)
    if balance is None or algorithm == "latency":
        notes.add(f"{where}: {algorithm} becomes {balance or 'round_robin'}")
    if balance in (None, "round_robin"):
        return {}
    if balance != "ring_hash":
        return {"balance": balance}
    by = str(upstream.get("hash_on", "none"))
    known: dict[str, dict[str, Any]] = {
        "ip": {"client_address": True},
        "path": {"path": True},
        "header": {"header": upstream.get("hash_on_header")},
        "cookie": {"cookie": {"name": upstream.get("hash_on_cookie"), "ttl": 0}},
    }
    on = known.get(by)
    if on is None:
        notes.add(f"{where}: hashes by {by}, here by the visitor's address")
    return {"balance": balance, **({"hash_on": on} if on else {})}


def _health(upstream: Mapping[str, Any]) -> dict[str, Any]:
    checks = upstream.get("healthchecks") or {}
    health: dict[str, Any] = {}
    active = checks.get("active") or {}
    healthy, unhealthy = active.get("healthy") or {}, active.get("unhealthy") or {}
    if float(healthy.get("interval", 0)) > 0:
        health["active"] = {
            "path": str(active.get("http_path", "/")),
            "interval": float(healthy["interval"]),
            "timeout": float(active.get("timeout", 1)),
            "healthy": int(healthy.get("successes") or 1),
            "unhealthy": int(unhealthy.get("http_failures") or 2),
        }
    failures = (checks.get("passive") or {}).get("unhealthy") or {}
    passive = {"errors": failures.get("http_failures"), "connect_errors": failures.get("tcp_failures")}
    if any(passive.values()):
        health["passive"] = {name: int(value) for name, value in passive.items() if value}
    return {"health": health} if health else {}


def _limits(data: Mapping[str, Any]) -> dict[str, Any]:
    timeouts = {}
    if data.get("connect_timeout"):
        timeouts["connect"] = min(seconds(data["connect_timeout"]), 600.0)
    if data.get("read_timeout"):
        timeouts["idle"] = seconds(data["read_timeout"])
    found: dict[str, Any] = {"timeouts": timeouts} if timeouts else {}
    if data.get("retries") is not None:
        found["retries"] = {"attempts": min(int(data["retries"]), 5)}
    return found


def _verified(found: dict[str, Any], data: Mapping[str, Any], where: str, notes: Notes) -> None:
    if data.get("tls_verify") is False:
        backends = [b if isinstance(b, dict) else {"url": b} for b in found["backends"]]
        found["backends"] = [{**backend, "tls": {"verify": False}} for backend in backends]
    elif not data.get("tls_verify"):
        notes.add(f"{where}: the certificates of its backends are verified here; tls: {{ca: …}} says by whom")
