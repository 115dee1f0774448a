"""Routes: which requests lead where, and what changes on the way."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal, Self

import re2
from pydantic import BeforeValidator, Field, field_validator, model_validator

from edgeward.domain_name import CATCH_ALL
from edgeward.errors import Invalid
from edgeward.gateway.model.canary import Canary
from edgeward.gateway.model.header import HeaderChange, HeaderName, HeaderValue
from edgeward.gateway.model.rate_limit import RateLimit
from edgeward.gateway.model.service import Retries, Timeouts
from edgeward.gateway.model.units import ExactName, duration
from edgeward.parsing import HostPattern, Name, Value, checked
from edgeward.placement import Selector

Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_MOST_MATCHES = 100_000
_OF_PASSTHROUGH = frozenset({"name", "project", "nodes", "hosts", "service", "tls", "http", "timeouts"})


class HSTS(Value):
    """Strict-Transport-Security (RFC 6797) on answers over HTTPS."""

    max_age: Annotated[int, BeforeValidator(duration), Field(ge=0, le=10 * 365 * 86400)] = 31536000
    """How long browsers remember."""
    include_subdomains: bool = False
    """Names below this one too."""
    preload: bool = False
    """Consent to browsers' built-in lists."""


class Redirect(Value):
    """Send the visitor elsewhere instead of to a service."""

    host: ExactName | None = None
    """The new host, at the usual port; unset keeps both."""
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2048)] | None = None
    """Replaces the whole path; unset keeps it, query included."""
    scheme: Literal["http", "https"] | None = None
    """The new scheme; unset keeps it."""
    status: Literal[301, 302, 303, 307, 308] = 301
    """What the visitor gets."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.host is None and self.path is None and self.scheme is None:
            raise ValueError("say at least one of host, path and scheme")
        return self


def _path(text: str) -> str:
    """Check a path match: ``/prefix``, ``=/exact`` or ``~regular expression`` (RE2, whole path)."""
    if len(text) > 2048:
        raise Invalid("a path match has at most 2,048 characters")
    if text.startswith("~"):
        return _regex(text)
    path = text.removeprefix("=")
    if not re.fullmatch(r"/[!-~]*", path, re.ASCII) or "?" in path or "#" in path:
        raise Invalid("write a path as /prefix, =/exact or ~regular-expression, without ? and #")
    return text


def _regex(text: str) -> str:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        re2.compile(text[1:], options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise Invalid(f"is not a regular expression as RE2 reads it: {reason}") from error
    if len(text) < 2:
        raise Invalid("write a regular expression behind the ~")
    return text


PathMatch = Annotated[str, checked(_path)]


class Route(Value):
    """Which requests go where: hosts, paths, methods and headers must all match."""

    name: Name = ""
    """Unset: made of what it matches."""
    project: Name = "default"
    hosts: tuple[HostPattern, ...] = Field(min_length=1, max_length=100_000)
    """Exact names and ``*.suffix``; each must be covered by a domain."""
    paths: tuple[PathMatch, ...] = Field(default=("/",), min_length=1, max_length=100)
    """``/prefix`` (of whole segments), ``=/exact`` or ``~regular expression`` (RE2, whole path)."""
    methods: tuple[Method, ...] = ()
    """Empty: all."""
    headers: dict[HeaderName, HeaderValue] = Field(default={}, max_length=20)
    """Headers that must be there with exactly this value."""
    service: Name | None = None
    """Where requests go."""
    canary: Canary | None = None
    """Another service for some of them."""
    redirect: Redirect | None = None
    """Where visitors are sent instead."""
    strip_path: bool = False
    """Take the matched prefix off before forwarding (prefixes only)."""
    preserve_host: bool = True
    """Forward the visitor's Host; false: the backend's own name, and the visitor's in X-Forwarded-Host."""
    request_headers: HeaderChange = HeaderChange()
    """Changed on the way to the backend."""
    response_headers: HeaderChange = HeaderChange()
    """Changed on the way to the visitor."""
    hsts: HSTS | None = None
    """``true`` for a year, or a map."""
    tls: Literal["terminate", "passthrough"] = "terminate"
    """``passthrough``: TLS goes on to the service unread, chosen by its server name; such a route has only
    hosts and a service, whose backends are ``tcp://`` or ``unix:``."""
    http: Literal["redirect", "serve", "refuse"] = "redirect"
    """What visitors over plain HTTP get: a redirect to HTTPS, the same route, or 404."""
    rate_limits: tuple[RateLimit, ...] = Field(default=(), max_length=5)
    """How many requests it takes on each node; all must have a token left."""
    timeouts: Timeouts | None = None
    """Instead of the service's."""
    retries: Retries | None = None
    """Instead of the service's."""
    nodes: Selector | None = None
    """Labels of the nodes that have this route, `{region: eu}`; unset: those that serve its hosts."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("name"):
            return {**data, "name": _route_name(data)}
        return data

    @field_validator("hsts", mode="before")
    @classmethod
    def _hsts_switch(cls, value: Any) -> Any:
        return {True: HSTS(), False: None}.get(value, value) if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if (self.service is None) == (self.redirect is None):
            raise ValueError("say exactly one of service and redirect")
        if self.canary is not None and self.canary.service == self.service:
            raise ValueError("canary.service is the route's own service; name another")
        if self.canary is not None and self.service is None:
            raise ValueError("canary goes with service; a redirect leads everybody to one place")
        if self.strip_path and any(not p.startswith("/") for p in self.paths):
            raise ValueError("strip_path takes prefixes only; use no = or ~ path with it")
        if len(self.hosts) * len(self.paths) > _MOST_MATCHES:
            raise ValueError(f"hosts times paths are over {_MOST_MATCHES:,}; split the route")
        return self

    @property
    def services(self) -> tuple[str, ...]:
        """The services its requests may go to."""
        canary = (self.canary.service,) if self.canary else ()
        return (self.service, *canary) if self.service is not None else ()

    @model_validator(mode="after")
    def _unread(self) -> Self:
        if self.tls == "terminate":
            return self
        if CATCH_ALL in self.hosts:
            raise ValueError("what is passed through unread has names of its own; say others than *")
        if self.service is None:
            raise ValueError("a route with tls: passthrough needs a service, and cannot redirect")
        if self.http == "serve":
            raise ValueError(
                "the service of a route with tls: passthrough speaks TLS; say http: redirect or refuse"
            )
        fields = type(self).model_fields
        said = [f for f in fields if f not in _OF_PASSTHROUGH and getattr(self, f) != fields[f].default]
        if said:
            raise ValueError(
                f"{said[0]} is not for tls: passthrough: the edge does not read what it passes through"
            )
        return self


def _route_name(data: dict[str, Any]) -> str:
    """Name an unnamed route after what it matches, so that the same file always says the same."""
    match = repr([data.get(k) for k in ("hosts", "paths", "methods", "headers")])
    if data.get("nodes"):
        match += repr(data["nodes"])  # the same match may be declared for other nodes, too
    hosts = data.get("hosts")
    first = str(hosts[0]) if isinstance(hosts, (list, tuple)) and hosts else "route"
    readable = re.sub(r"[^a-z0-9.-]+", "-", first.lower().replace("*", "any")).strip(".-") or "route"
    return f"{readable[:80]}-{hashlib.sha256(match.encode()).hexdigest()[:8]}"
