"""Kong's routes, and those of its plugins that have a counterpart, as our routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from edgeward.cli.imports.kong_parts import Notes, called, items, named, pattern
from edgeward.errors import Invalid
from edgeward.gateway.model import Route
from edgeward.parsing import parse

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_PERIODS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_STREAMS: Final = frozenset({"tcp", "tls", "udp"})


def route(
    data: Mapping[str, Any], service: str, plugins: Sequence[Mapping[str, Any]], notes: Notes
) -> dict[str, Any] | None:
    """Give a route, None where it cannot be taken over."""
    where = f"the route {called(data)}"
    protocols = {str(p) for p in data.get("protocols") or ("http", "https")}
    if protocols & _STREAMS:
        notes.add(f"{where} takes {', '.join(sorted(protocols))}: declare it under tcp_routes")
        return None
    hosts = _hosts(data, where, notes)
    if not hosts:
        notes.add(f"{where} has no hosts, and so takes every one: left out; say which")
        return None
    found: dict[str, Any] = {"name": named(data.get("name") or hosts[0]), "hosts": hosts, "service": service}
    if "tls_passthrough" in protocols:
        found["tls"] = "passthrough"
    else:
        found |= _matched(data, where, notes) | _forwarded(data, protocols, where, notes)
        limits = list(_limits([*items(data, "plugins"), *plugins], where, notes))
        if limits:
            found["rate_limits"] = limits[:5]
    try:
        parse(Route, found)
    except Invalid as error:
        notes.add(f"{where} is left out: {error}")
        return None
    return found


def _hosts(data: Mapping[str, Any], where: str, notes: Notes) -> list[str]:
    found = []
    for host in data.get("hosts") or data.get("snis") or ():
        name = pattern(str(host))
        if name is None:
            notes.add(f"{where}: the host {host} is left out; there are names and *.suffix only")
        elif name.startswith("*."):
            notes.add(f"{where}: {name} stands for one label here, for any number of them in Kong")
        if name is not None:
            found.append(name)
    return list(dict.fromkeys(found))


def _matched(data: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    paths = [_path(str(path)) for path in data.get("paths") or ()]
    if paths:
        found["paths"] = paths
    if any(path.startswith("/") and path != "/" for path in paths):
        notes.add("prefixes end with a segment here: /foo takes /foo/bar and not /foobar")
    methods = [str(method) for method in data.get("methods") or ()]
    if methods and not _METHODS.issuperset(methods):
        notes.add(f"{where}: methods other than {', '.join(sorted(_METHODS))} are left out")
    if methods:
        found["methods"] = [method for method in methods if method in _METHODS]
    headers = {}
    for name, values in (data.get("headers") or {}).items():
        every = values if isinstance(values, list) else [values]
        if len(every) != 1 or str(every[0]).startswith("~"):
            notes.add(f"{where}: the header {name} is matched by one exact value here: left out")
        else:
            headers[str(name).lower()] = str(every[0])
    if headers:
        found["headers"] = headers
    if data.get("regex_priority"):
        notes.add(f"{where}: regex_priority is not taken over; exact paths and longer prefixes come first")
    return found


def _path(path: str) -> str:
    """Kong's expressions are held to the beginning of a path only."""
    if not path.startswith("~"):
        return path.rstrip("/") or "/"
    expression = path[1:].removeprefix("^")
    return "~" + (expression[:-1] if expression.endswith("$") else expression + ".*")


def _forwarded(data: Mapping[str, Any], protocols: set[str], where: str, notes: Notes) -> dict[str, Any]:
    paths = [str(path) for path in data.get("paths") or ()]
    found: dict[str, Any] = {}
    if data.get("strip_path", True) and any(path.rstrip("/") for path in paths):
        if any(path.startswith("~") for path in paths):
            notes.add(f"{where}: what its expressions match is not stripped")
        else:
            found["strip_path"] = True
    if not data.get("preserve_host", False):
        found["preserve_host"] = False
    if protocols & {"http", "grpc"}:
        found["http"] = "serve"
    return found


def _limits(plugins: Iterable[Mapping[str, Any]], where: str, notes: Notes) -> Iterable[dict[str, Any]]:
    done: set[str] = set()
    for plugin in plugins:
        name, config = str(plugin.get("name")), plugin.get("config") or {}
        if plugin.get("enabled") is False or name in done:
            continue
        done.add(name)  # of several of a name Kong runs that of the route, or else of the service
        if name != "rate-limiting":
            notes.add(f"{where}: the plugin {name} is not taken over")
            continue
        by: Any = {"ip": "client", "service": "route", "path": "route"}.get(str(config.get("limit_by")))
        if config.get("limit_by") == "header":
            by = {"header": str(config.get("header_name"))}
        if by is None:
            notes.add(
                f"{where}: its rate-limiting by {config.get('limit_by', 'consumer')} is by address here"
            )
        for period, length in _PERIODS.items():
            if config.get(period):
                yield {"requests": int(config[period]), "per": length, "by": by or "client"}
        if any(config.get(period) for period in ("month", "year")):
            notes.add(f"{where}: rate limits by month and year are not taken over")
