"""Services: named sets of backends, how one is chosen, and when it counts as sick."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeward.gateway.model.backend import Backend
from edgeward.gateway.model.balance import Balance, HashOn
from edgeward.gateway.model.units import Network, Seconds
from edgeward.parsing import Name, Value


class ActiveHealth(Value):
    """Ask each backend for a page; one that fails is left out until it answers again."""

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=1024)] = "/"
    """Asked with GET."""
    interval: Annotated[Seconds, Field(ge=0.1)] = 10.0
    """Time between two questions."""
    timeout: Annotated[Seconds, Field(ge=0.05)] = 2.0
    """Time for one answer."""
    healthy: int = Field(default=1, ge=1, le=100)
    """Good answers in a row after which it is used again."""
    unhealthy: int = Field(default=2, ge=1, le=100)
    """Bad answers in a row after which it is left out."""
    statuses: Annotated[str, Field(pattern=r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$")] = "200-399"
    """Status, or range of statuses, that counts as good."""

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
    """Answers 502, 503 or 504 in a row."""
    connect_errors: int = Field(default=5, ge=1, le=1000)
    """Connections refused, reset or timed out, and answers too late, in a row."""
    failure_percent: int | None = Field(default=None, ge=1, le=100)
    """Also where this share of at least 20 requests in 10 s got a 5xx."""
    pause: Annotated[Seconds, Field(ge=0.1)] = 30.0
    """Time a failing backend is left out the first time."""
    most_percent: int = Field(default=50, ge=1, le=100)
    """Share of the backends that may be left out at once: below 100 the last one stays, however it does."""


class Health(Value):
    """When a backend is left out; nothing is asked or watched unless told to."""

    active: ActiveHealth | None = None
    """Ask the backends."""
    passive: PassiveHealth | None = None
    """Watch what visitors' requests get."""


class Timeouts(Value):
    connect: Annotated[Seconds, Field(le=600)] = 2.0
    """Time to connect to a backend."""
    response: Seconds | None = None
    """Whole time for one answer; unset: streams are not bound."""
    idle: Seconds = 300.0
    """Time without a byte in either direction."""


class Retries(Value):
    """Bounded retries of requests that had no effect: connect failures, refused streams, resets
    before the request was sent."""

    attempts: int = Field(default=1, ge=0, le=5)
    """Further tries; 0 turns retries off."""
    statuses: tuple[Annotated[int, Field(ge=500, le=599)], ...] = ()
    """Also retry these answers, for GET, HEAD and OPTIONS only."""
    try_timeout: Seconds | None = None
    """Time for each try."""


class Circuit(Value):
    """How much may go to a service at once on each node; what is over it gets 503 at once."""

    connections: int = Field(default=1024, ge=1, le=1_000_000)
    """Open connections over HTTP/1.1; at the limit requests wait."""
    pending: int = Field(default=1024, ge=1, le=1_000_000)
    """Requests that wait for a connection."""
    requests: int = Field(default=1024, ge=1, le=1_000_000)
    """Requests on their way."""
    retries: int = Field(default=3, ge=0, le=1_000_000)
    """Retries on their way; one over it is not tried, and its visitor gets what there is."""


class Service(Value):
    """A named set of backends behind one way of choosing between them."""

    name: Name
    project: Name = "default"
    backends: tuple[Backend, ...] = Field(min_length=1, max_length=1000)
    """Where requests can go: URLs, or maps with ``url``, ``via``, ``weight`` and ``tls``."""
    balance: Balance = "round_robin"
    """How a backend is chosen; ``ring_hash`` and ``maglev`` do by ``hash_on``, on every node alike."""
    hash_on: HashOn | None = None
    """What ``ring_hash`` and ``maglev`` choose by; unset: the visitor's address."""
    health: Health = Health()
    """When a backend is left out."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """Tell backends with the PROXY protocol whom a connection is for; each visitor's connection then has its
    own to a backend."""
    circuit: Circuit | None = None
    """How much it may get at once; unset: as much as comes, ``{}``: Envoy's usual limits."""
    timeouts: Timeouts = Timeouts()
    """How long backends may take."""
    retries: Retries = Retries()
    """What is tried again."""
    allow_networks: tuple[Network, ...] = Field(default=(), max_length=100)
    """Networks this service's names may resolve into although they are loopback, link-local or metadata."""

    @property
    def takes_requests(self) -> bool:
        return not any(b.unread for b in self.backends)

    @property
    def takes_streams(self) -> bool:
        """Whether bytes may be passed on to it unread, TLS and all."""
        return all(b.unread or b.scheme == "unix" for b in self.backends)

    @model_validator(mode="after")
    def _hashing_where_it_counts(self) -> Self:
        if self.hash_on is not None and not self.hashes:
            raise ValueError(
                "hash_on goes with balance: ring_hash or maglev only; set balance, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _health_can_be_asked(self) -> Self:
        asked = self.health.active is not None and any(b.socket_path or b.via for b in self.backends)
        if asked and self.proxy_protocol == "v1":
            raise ValueError(
                "health.active has no address to tell a unix: backend, or one behind a site, with"
                " proxy_protocol: v1; use v2"
            )
        return self

    @property
    def hashes(self) -> bool:
        """Tell whether a request's hash decides about its backend."""
        return self.balance in ("ring_hash", "maglev")

    @model_validator(mode="after")
    def _one_protocol(self) -> Self:
        if len({b.http2 for b in self.backends}) > 1:
            raise ValueError("one service's backends all speak HTTP/1.1 or all HTTP/2; split the service")
        if not self.takes_requests and not self.takes_streams:
            raise ValueError(
                "one service's backends are all tcp:// or unix:, or all for HTTP; split the service"
            )
        return self
