"""Where the edge listens, and what one visitor may use up there."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgeward.errors import Invalid, Problem
from edgeward.gateway.model.units import Bytes, ExactName, Network, Seconds
from edgeward.parsing import Name, Value, checked


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

    @classmethod
    def several(cls, text: str, field: str) -> tuple[str, ...]:
        """Read addresses separated by commas or blanks; raises Invalid, which names ``field``."""
        try:
            return tuple(str(cls.parse(word)) for word in text.replace(",", " ").split())
        except Invalid as error:
            raise Invalid(Problem(field, str(error))) from error

    def meets(self, other: Address) -> bool:
        """Tell whether two sockets would take each other's connections."""
        if self.port != other.port:
            return False
        anywhere = self.host in _ANYWHERE or other.host in _ANYWHERE
        return self.host == other.host or (anywhere and (":" in self.host) == (":" in other.host))


_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_ADDRESS_HINT = "write an address as IP:PORT with a port from 1 to 65535, IPv6 as [IP]:PORT"


def _addresses(value: Any) -> Any:
    items = [value] if isinstance(value, (str, Address)) else value
    if not isinstance(items, (list, tuple)):
        raise ValueError("give one address or a list of addresses, such as 127.0.0.1:8443")
    return tuple(items)


AddressText = Annotated[str, checked(lambda text: str(Address.parse(text)))]
Addresses = Annotated[tuple[AddressText, ...], BeforeValidator(_addresses), Field(max_length=32)]


class Limits(Value):
    """What one visitor may use up, after Envoy's edge best practice."""

    request_header_bytes: Annotated[Bytes, Field(ge=1024, le=96 * 1024)] = 60 * 1024
    """All headers of a request together; more gives 431."""
    request_headers: int = Field(default=100, ge=10, le=1000)
    """Number of headers; more gives 431."""
    request_body_bytes: Bytes = 0
    """0: unlimited; bodies are streamed, never kept."""
    header_timeout: Seconds = 10.0
    """Time for the first bytes of a connection, and for the headers of a request."""
    request_timeout: Seconds = 300.0
    """Time a visitor has to send a whole request, body included; WebSockets are not bound by it."""
    idle_timeout: Seconds = 60.0
    """Keep-alive connections and streams on which nothing moves."""
    handshake_timeout: Seconds = 15.0
    """Time for a TLS handshake, an issuance on demand included."""
    concurrent_streams: int = Field(default=100, ge=1, le=1000)
    """Requests at once on one HTTP/2 connection."""


class ListenHere(Value):
    """Where one node listens; what is not given is as for all."""

    http: Addresses | None = None
    """Instead of ``listen.http``."""
    https: Addresses | None = None
    """Instead of ``listen.https``."""
    metrics: Addresses | None = None
    """Instead of ``listen.metrics``."""


class Listen(Value):
    """Where the edge listens; one object, named ``listen``."""

    http: Addresses = ()
    """Addresses for plain HTTP: redirects to HTTPS, and routes that say ``http: serve``."""
    https: Addresses = ()
    """Addresses for HTTPS, as ``IP:PORT``, ``[IPv6]:PORT`` or ``:PORT``; one or a list."""
    api: Addresses = ("127.0.0.1:2443",)
    """Addresses of the controller's API."""
    openstack: Addresses = ()
    """Loopback addresses of OpenStack's API for programs that log in nowhere (``auth_type none``): each
    program of this host is an admin there. The API has it too, with tokens."""
    metrics: Addresses = ()
    """Plain HTTP addresses for the node's own Prometheus metrics; none by default."""
    public: tuple[Network, ...] = Field(default=(), max_length=1000)
    """Addresses under which visitors reach the edge, its load balancers' too. Names that lead elsewhere in
    DNS are not ordered from authorities that visit them; none: they are, wherever they lead."""
    default_domain: ExactName | None = None
    """Whose certificate a visitor without SNI gets; unset: such visitors are refused."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For is believed; nobody's by default."""
    proxy_protocol: tuple[Network, ...] = Field(default=(), max_length=1000)
    """Load balancers that say with the PROXY protocol (v1 or v2) whom they speak for, on all ``http`` and
    ``https`` addresses; what anybody else says with it closes the connection. A listed one that says
    nothing is served as itself."""
    access_log: Literal["stdout", "off"] | Annotated[str, Field(pattern=r"^/[^\x00-\x1f]+$")] = "stdout"
    """One JSON line for each request, to standard output or an absolute file path."""
    limits: Limits = Limits()
    """What one visitor may use up."""
    nodes: dict[Name, ListenHere] = Field(default={}, max_length=1000)
    """By the name of a node: where it listens instead, as hosts with addresses of their own do."""

    @model_validator(mode="after")
    def _no_address_twice(self) -> Self:
        _once([*self.http, *self.https, *self.api, *self.metrics, *self.openstack], "")
        for text in self.openstack:
            if not ipaddress.ip_address(Address.parse(text).host).is_loopback:
                raise ValueError(f"openstack: {text} is not on loopback; write 127.0.0.1 or [::1]")
        for name in self.nodes:
            here = self.of_node(name)
            _once([*here.http, *here.https, *here.metrics], f" for node {name}")
        return self

    def of_node(self, name: str) -> Listen:
        """Give where a node of this name listens."""
        own = self.nodes.get(name)
        if own is None:
            return self
        return self.model_copy(update={k: v for k, v in own if v is not None})


def _once(addresses: list[str], where: str) -> None:
    twice = sorted({a for a in addresses if addresses.count(a) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is listed twice{where}; give every listener its own address")
