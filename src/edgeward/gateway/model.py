"""What the gateway is told: where to listen, which services there are, which routes lead to them.

Field names are the public surface (YAML and REST). Durations are seconds as numbers (fractions
allowed) or strings such as ``500ms``, ``30s``, ``5m``, ``1h``; sizes are bytes or ``64k``, ``10m``.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import re2
from pydantic import BeforeValidator, Field, field_validator, model_validator

from edgeward.errors import Invalid
from edgeward.parsing import HostPattern, Name, Value, checked

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SIZE = re.compile(r"(\d+)(k|m|g)?", re.ASCII | re.IGNORECASE)
_UNIT_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3, "": 1}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


def duration(value: Any) -> Any:
    """Give seconds from a number or ``500ms``, ``30s``, ``5m``, ``1h``, ``7d``."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a duration as seconds or like 500ms, 30s, 5m, 1h, 7d")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def size(value: Any) -> Any:
    """Give bytes from a number or ``64k``, ``10m``, ``1g`` (powers of 1,024)."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a size as bytes or like 64k, 10m, 1g")
    return int(match[1]) * _UNIT_BYTES[(match[2] or "").lower()]


Seconds = Annotated[float, BeforeValidator(duration), Field(ge=0.001, le=86400 * 30, allow_inf_nan=False)]
Bytes = Annotated[int, BeforeValidator(size), Field(ge=0, le=1 << 40)]


# --- listen ---------------------------------------------------------------------------------


class Address(Value):
    """An IP address and port; ``str()`` gives ``127.0.0.1:443`` or ``[::1]:443``."""

    host: str
    port: int = Field(ge=1, le=65535)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``IP:PORT``, ``[IPv6]:PORT`` or ``:PORT`` (all IPv4 addresses); raises Invalid."""
        host, colon, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or (":" in host and bare == host):
            raise Invalid(_ADDRESS_HINT)
        try:
            address = ipaddress.ip_address(bare or "0.0.0.0")  # noqa: S104 - what ':443' means
        except ValueError as error:
            raise Invalid(_ADDRESS_HINT) from error
        if getattr(address, "scope_id", None) is not None or not 1 <= int(port) <= 65535:
            raise Invalid(_ADDRESS_HINT)
        return cls(host=str(address), port=int(port))


_ADDRESS_HINT = "write an address as IP:PORT with a port from 1 to 65535, IPv6 as [IP]:PORT"


def _addresses(value: Any) -> Any:
    items = [value] if isinstance(value, (str, Address)) else value
    if not isinstance(items, (list, tuple)):
        raise ValueError("give one address or a list of addresses, such as 127.0.0.1:8443")
    return tuple(items)


AddressText = Annotated[str, checked(lambda text: str(Address.parse(text)))]
Addresses = Annotated[tuple[AddressText, ...], BeforeValidator(_addresses), Field(max_length=32)]
Network = Annotated[str, checked(lambda text: _network(text))]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise Invalid("write a network as an address block such as 10.0.0.0/8 or fd00::/8") from error


class Limits(Value):
    """What one visitor may use up, after Envoy's edge best practice."""

    request_header_bytes: Annotated[Bytes, Field(ge=1024, le=96 * 1024)] = 60 * 1024
    request_headers: int = Field(default=100, ge=10, le=1000)
    request_body_bytes: Bytes = 0
    """0: unlimited; bodies are streamed, never kept."""
    header_timeout: Seconds = 10.0
    request_timeout: Seconds = 300.0
    """Time a visitor has to send a whole request, body included; WebSockets are not bound by it."""
    idle_timeout: Seconds = 60.0
    """Keep-alive connections and streams on which nothing moves."""
    handshake_timeout: Seconds = 15.0
    concurrent_streams: int = Field(default=100, ge=1, le=1000)


class Listen(Value):
    """Where the edge listens; one object, named ``listen``."""

    http: Addresses = ()
    https: Addresses = ()
    api: Addresses = ("127.0.0.1:2443",)
    metrics: Addresses = ()
    """Plain HTTP addresses for the node's own Prometheus metrics; none by default."""
    default_domain: Annotated[str, checked(lambda t: _exact(t))] | None = None
    """Whose certificate a visitor without SNI gets; unset: such visitors are refused."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For is believed; nobody's by default."""
    access_log: Literal["stdout", "off"] | Annotated[str, Field(pattern=r"^/[^\x00-\x1f]+$")] = "stdout"
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _no_address_twice(self) -> Self:
        every = [*self.http, *self.https, *self.api, *self.metrics]
        twice = sorted({a for a in every if every.count(a) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is listed twice; give every listener its own address")
        return self


def _exact(text: str) -> str:
    from edgeward.domain_name import normalise

    return normalise(text)


# --- services -------------------------------------------------------------------------------

Scheme = Literal["http", "https", "h2c", "h2", "unix"]
_ALIASES = {"grpc": "h2c", "grpcs": "h2"}
_DEFAULT_PORTS = {"http": 80, "https": 443, "h2c": 80, "h2": 443}


class BackendTLS(Value):
    """How a TLS backend is verified; by default against the system's roots and its host name."""

    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")] | None = None
    ca: str | None = Field(default=None, max_length=1 << 20)
    """PEM certificates to trust instead of the system's roots."""
    verify: bool = True

    @field_validator("ca")
    @classmethod
    def _is_pem(cls, text: str | None) -> str | None:
        if text is None:
            return None
        from cryptography import x509

        try:
            x509.load_pem_x509_certificates(text.encode())
        except ValueError as error:
            raise ValueError("is not a list of PEM certificates") from error
        return text


class Backend(Value):
    """One place a service's requests can go to.

    ``url`` is ``http://``, ``https://``, ``h2c://`` (or ``grpc://``), ``h2://`` (or ``grpcs://``)
    with a host and optionally a port, or ``unix:/absolute/path``.
    """

    url: str = Field(max_length=1024)
    weight: int = Field(default=1, ge=1, le=1000)
    tls: BackendTLS | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"url": data} if isinstance(data, str) else data

    @field_validator("url")
    @classmethod
    def _canonical(cls, text: str) -> str:
        return _canonical_url(text)

    @model_validator(mode="after")
    def _tls_where_it_fits(self) -> Self:
        if self.tls is not None and not self.uses_tls:
            raise ValueError("tls goes with https:// and h2:// backends only")
        return self

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    @property
    def uses_tls(self) -> bool:
        return self.scheme in ("https", "h2")

    @property
    def http2(self) -> bool:
        return self.scheme in ("h2", "h2c")

    @property
    def socket_path(self) -> str | None:
        return self.url.removeprefix("unix:") if self.scheme == "unix" else None

    @property
    def host(self) -> str:
        """The host name or IP address (IPv6 without brackets); empty for a Unix socket."""
        return "" if self.scheme == "unix" else str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        if self.scheme == "unix":
            return 0
        return urlsplit(self.url).port or _DEFAULT_PORTS[self.scheme]

    @property
    def literal(self) -> bool:
        """True where the place is an IP address or a socket: such backends are for admins only."""
        return self.scheme == "unix" or _is_ip(self.host)


_URL_HINT = "write a backend as http://HOST:PORT, https://…, h2c://…, h2://… or unix:/absolute/path"


def _canonical_url(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if not colon or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(_URL_HINT)
    if scheme == "unix":
        if not rest.startswith("/") or len(rest) > 107 or "/../" in f"{rest}/":
            raise ValueError("write a Unix socket as unix:/absolute/path of at most 107 bytes")
        return f"unix:{rest}"
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(_URL_HINT)
    return _canonical_http(scheme, rest)


def _canonical_http(scheme: str, rest: str) -> str:
    try:
        parts = urlsplit(f"{scheme}:{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(_URL_HINT) from error
    if not host or "@" in parts.netloc or "%" in host or port == 0:
        raise ValueError(_URL_HINT)
    if parts.path not in ("", "/") or parts.query or parts.fragment or rest.endswith(("?", "#")):
        raise ValueError("a backend has no path or query; use the route's strip_path or rewrite")
    host = host.rstrip(".") if not host.endswith("..") else ""
    if _is_ip(host):
        host = str(ipaddress.ip_address(host))
        host = f"[{host}]" if ":" in host else host
    elif (
        not re.fullmatch(
            r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*",
            host,
            re.ASCII,
        )
        or host.rpartition(".")[2].isdigit()
    ):
        raise ValueError(f"'{host}' is neither a host name nor an IP address")
    return f"{scheme}://{host}:{port or _DEFAULT_PORTS[scheme]}"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class ActiveHealth(Value):
    """Ask each backend for a page; one that fails is left out until it answers again."""

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=1024)] = "/"
    interval: Annotated[Seconds, Field(ge=0.1)] = 10.0
    timeout: Annotated[Seconds, Field(ge=0.05)] = 2.0
    healthy: int = Field(default=1, ge=1, le=100)
    unhealthy: int = Field(default=2, ge=1, le=100)
    statuses: Annotated[str, Field(pattern=r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$")] = "200-399"

    @field_validator("statuses")
    @classmethod
    def _ordered(cls, text: str) -> str:
        low, _, high = text.partition("-")
        if high and high < low:
            raise ValueError("write statuses as 200 or 200-399, the lower first")
        return text


class PassiveHealth(Value):
    """Leave out a backend that fails real requests, for a while that doubles as it goes on."""

    errors: int = Field(default=5, ge=1, le=1000)
    """Gateway errors (502, 503, 504, resets, timeouts) in a row."""
    pause: Annotated[Seconds, Field(ge=0.1)] = 30.0
    most_percent: int = Field(default=50, ge=1, le=100)


class Health(Value):
    active: ActiveHealth | None = None
    passive: PassiveHealth | None = None


class Timeouts(Value):
    connect: Annotated[Seconds, Field(le=600)] = 2.0
    response: Seconds | None = None
    """Whole time for one answer; None leaves streams unbound."""
    idle: Seconds = 300.0
    """Time without a byte in either direction."""


class Retries(Value):
    """Bounded retries of requests that had no effect: connect failures, refused streams, resets
    before the request was sent."""

    attempts: int = Field(default=1, ge=0, le=5)
    statuses: tuple[Annotated[int, Field(ge=500, le=599)], ...] = ()
    """Also retry these answers, for GET, HEAD and OPTIONS only."""
    try_timeout: Seconds | None = None


class Service(Value):
    """A named set of backends behind one way of choosing between them."""

    name: Name
    project: Name = "default"
    backends: tuple[Backend, ...] = Field(min_length=1, max_length=1000)
    balance: Literal["round_robin", "least_request"] = "round_robin"
    health: Health = Health()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    allow_networks: tuple[Network, ...] = Field(default=(), max_length=100)
    """Networks this service's names may resolve into although they are loopback, link-local or metadata."""

    @model_validator(mode="after")
    def _one_protocol(self) -> Self:
        if len({b.http2 for b in self.backends}) > 1:
            raise ValueError("one service's backends all speak HTTP/1.1 or all HTTP/2; split the service")
        return self


# --- routes ---------------------------------------------------------------------------------

Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


def _header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text) or len(text) > 128:
        raise Invalid("a header name has 1 to 128 letters, digits and -!#$%&'*+.^_`|~")
    return text.lower()


def _changeable_header(text: str) -> str:
    name = _header_name(text)
    if name in _FIXED_HEADERS or name.startswith("x-envoy-"):
        raise Invalid(f"'{name}' belongs to the connection and cannot be set or removed")
    return name


_HOP_HEADERS = "host connection content-length transfer-encoding upgrade te trailer keep-alive"
_VISITOR_HEADERS = "x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip"
_FIXED_HEADERS = frozenset(f"{_HOP_HEADERS} {_VISITOR_HEADERS}".split())


def _header_value(text: str) -> str:
    if len(text) > 4096 or not all(c == "\t" or 0x20 <= ord(c) < 0x7F for c in text):
        raise Invalid("a header value has at most 4,096 printable ASCII characters")
    return text


HeaderName = Annotated[str, checked(_header_name)]
ChangeableHeader = Annotated[str, checked(_changeable_header)]
HeaderValue = Annotated[str, checked(_header_value)]


class HeaderChange(Value):
    """Headers set (replaced), added beside what is there, and removed. Values are taken literally."""

    set: dict[ChangeableHeader, HeaderValue] = Field(default={}, max_length=100)
    add: dict[ChangeableHeader, HeaderValue] = Field(default={}, max_length=100)
    remove: tuple[ChangeableHeader, ...] = Field(default=(), max_length=100)


class HSTS(Value):
    """Strict-Transport-Security (RFC 6797) on answers over HTTPS."""

    max_age: Annotated[int, BeforeValidator(duration), Field(ge=0, le=10 * 365 * 86400)] = 31536000
    include_subdomains: bool = False
    preload: bool = False


class Redirect(Value):
    """Send the visitor elsewhere instead of to a service."""

    host: Annotated[str, checked(_exact)] | None = None
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2048)] | None = None
    """Replaces the whole path; None keeps it, query included."""
    scheme: Literal["http", "https"] | None = None
    status: Literal[301, 302, 303, 307, 308] = 301

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
    project: Name = "default"
    hosts: tuple[HostPattern, ...] = Field(min_length=1, max_length=100_000)
    paths: tuple[PathMatch, ...] = Field(default=("/",), min_length=1, max_length=100)
    methods: tuple[Method, ...] = ()
    """Empty: all."""
    headers: dict[HeaderName, HeaderValue] = Field(default={}, max_length=20)
    """Headers that must be there with exactly this value."""
    service: Name | None = None
    redirect: Redirect | None = None
    strip_path: bool = False
    """Take the matched prefix off before forwarding (prefixes only)."""
    preserve_host: bool = True
    """Forward the visitor's Host; false: the backend's own name."""
    request_headers: HeaderChange = HeaderChange()
    response_headers: HeaderChange = HeaderChange()
    hsts: HSTS | None = None
    http: Literal["redirect", "serve", "refuse"] = "redirect"
    """What visitors over plain HTTP get: a redirect to HTTPS, the same route, or 404."""
    timeouts: Timeouts | None = None
    retries: Retries | None = None

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
        if self.strip_path and any(not p.startswith("/") for p in self.paths):
            raise ValueError("strip_path takes prefixes only; use no = or ~ path with it")
        return self


def _route_name(data: dict[str, Any]) -> str:
    """Name an unnamed route after what it matches, so that the same file always says the same."""
    match = repr([data.get(k) for k in ("hosts", "paths", "methods", "headers")])
    hosts = data.get("hosts")
    first = str(hosts[0]) if isinstance(hosts, (list, tuple)) and hosts else "route"
    readable = re.sub(r"[^a-z0-9.-]+", "-", first.lower().replace("*", "any")).strip(".-") or "route"
    return f"{readable[:80]}-{hashlib.sha256(match.encode()).hexdigest()[:8]}"
