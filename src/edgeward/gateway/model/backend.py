"""Backends: the places a service's requests can go to, as URLs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

from cryptography import x509
from pydantic import Field, field_validator, model_validator

from edgeward.parsing import Name, Value

_ALIASES = {"grpc": "h2c", "grpcs": "h2"}
_DEFAULT_PORTS = {"http": 80, "https": 443, "h2c": 80, "h2": 443}


class BackendTLS(Value):
    """How a TLS backend is verified; by default against the system's roots and its host name."""

    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")] | None = None
    """Name sent in SNI and expected in the certificate, instead of the URL's host."""
    ca: str | None = Field(default=None, max_length=1 << 20)
    """PEM certificates to trust instead of the system's roots."""
    verify: bool = True
    """False trusts any certificate; for tests."""

    @field_validator("ca")
    @classmethod
    def _is_pem(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            x509.load_pem_x509_certificates(text.encode())
        except ValueError as error:
            raise ValueError("is not a list of PEM certificates") from error
        return text


class Behind(NamedTuple):
    """A place that is reached through the tunnel of a site of the same project."""

    site: str
    host: str
    port: int

    @property
    def named(self) -> bool:
        """Whether somebody has to give the host's address."""
        return not _is_ip(self.host)


class Backend(Value):
    """One place a service's requests can go to.

    ``url`` is ``http://``, ``https://``, ``h2c://`` (or ``grpc://``), ``h2://`` (or ``grpcs://``)
    with a host and optionally a port, ``tcp://`` with both, or ``unix:/absolute/path``. For
    ``vpn://SITE/HOST:PORT`` it becomes ``http://HOST:PORT`` ``via`` that site.
    """

    url: str = Field(max_length=1024)
    """``http://``, ``https://``, ``h2c://`` (``grpc://``), ``h2://`` (``grpcs://``) with a host,
    ``tcp://HOST:PORT`` for bytes passed on unread, or ``unix:/path`` for either."""
    weight: int = Field(default=1, ge=0, le=1000)
    """Share among the backends of the service; 0: no new requests."""
    via: Name | None = None
    """Site of the same project whose tunnel leads there: the address, or the name as the site's own DNS
    server gives it, is one of the site's. ``vpn://SITE/HOST:PORT`` says the same of ``http://``."""
    tls: BackendTLS | None = None
    """For ``https://`` and ``h2://`` only."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        data = {"url": data} if isinstance(data, str) else data
        if not isinstance(data, Mapping | Backend):
            raise ValueError("write a URL here, as http://HOST:PORT, or a mapping of fields with url")
        return _spelled_out(data) if isinstance(data, Mapping) else data

    @field_validator("url")
    @classmethod
    def _canonical(cls, text: str) -> str:
        return _canonical_url(text)

    @model_validator(mode="after")
    def _tls_where_it_fits(self) -> Self:
        if self.tls is not None and not self.uses_tls:
            raise ValueError("tls goes with https:// and h2:// backends only")
        return self

    @model_validator(mode="after")
    def _behind_where_it_fits(self) -> Self:
        if self.via is not None and self.scheme == "unix":
            raise ValueError("via goes with http://, https://, h2c://, h2:// and tcp:// backends only")
        return self

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    @property
    def uses_tls(self) -> bool:
        return self.scheme in ("https", "h2")

    @property
    def unread(self) -> bool:
        """True where it takes any bytes and not just requests."""
        return self.scheme == "tcp"

    @property
    def http2(self) -> bool:
        return self.scheme in ("h2", "h2c")

    @property
    def socket_path(self) -> str | None:
        return self.url.removeprefix("unix:") if self.scheme == "unix" else None

    @cached_property
    def host(self) -> str:
        """The host name or IP address (IPv6 without brackets); empty for a Unix socket."""
        return "" if self.scheme == "unix" else str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        if self.scheme == "unix":
            return 0
        return urlsplit(self.url).port or _DEFAULT_PORTS[self.scheme]

    @cached_property
    def literal(self) -> bool:
        """True where the place is an IP address or a socket of the edge's own: such backends are for admins
        only."""
        return self.via is None and (self.scheme == "unix" or _is_ip(self.host))

    @property
    def looked_up(self) -> bool:
        """True where the node asks DNS for its host."""
        return self.via is None and not self.literal

    @property
    def behind(self) -> Behind | None:
        return None if self.via is None else Behind(self.via, self.host, self.port)


_URL_HINT = (
    "write a backend as http://HOST:PORT, https://…, h2c://…, h2://…, tcp://…, vpn://SITE/HOST:PORT or"
    " unix:/absolute/path"
)


def _spelled_out(data: Mapping[str, Any]) -> Mapping[str, Any]:
    url = data.get("url")
    if not isinstance(url, str) or url[:6].lower() != "vpn://":
        return data
    site, slash, place = url[6:].partition("/")
    if not site or not slash or not place:
        raise ValueError("write a backend behind a site as vpn://SITE/HOST:PORT")
    if data.get("via") not in (None, site):
        raise ValueError("say the site once: in vpn://SITE/HOST:PORT, or as via")
    return {**data, "url": f"http://{place}", "via": site}


def _canonical_url(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if not colon or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(_URL_HINT)
    if scheme == "unix":
        if not rest.startswith("/") or len(rest) > 107 or "/../" in f"{rest}/":
            raise ValueError("write a Unix socket as unix:/absolute/path of at most 107 bytes")
        return f"unix:{rest}"
    if scheme not in _DEFAULT_PORTS and scheme != "tcp":
        raise ValueError(_URL_HINT)
    return _canonical_http(scheme, rest)


def _canonical_http(scheme: str, rest: str) -> str:
    try:
        parts = urlsplit(f"{scheme}:{rest}")
        host = parts.hostname
    except ValueError as error:
        raise ValueError(_URL_HINT) from error
    if not host or "@" in parts.netloc or "%" in host:
        raise ValueError(_URL_HINT)
    port = _port(parts)
    if parts.path not in ("", "/") or parts.query or parts.fragment or rest.endswith(("?", "#")):
        raise ValueError("a backend has no path or query; use the route's strip_path or rewrite")
    if port is None and scheme == "tcp":
        raise ValueError("write the port of a tcp:// backend: tcp://HOST:PORT")
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


def _port(parts: SplitResult) -> int | None:
    try:
        if parts.port != 0:
            return parts.port
    except ValueError:
        if parts.netloc.count(":") > 1 and "]" not in parts.netloc:
            raise ValueError("write an IPv6 address in brackets: http://[ADDRESS]:PORT") from None
    raise ValueError("the port of a backend is a number from 1 to 65535: http://HOST:PORT")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
