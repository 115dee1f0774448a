"""TCP routes: ports of their own whose bytes go to a service unread."""

from __future__ import annotations

import itertools
from typing import Self

from pydantic import Field, model_validator

from edgeward.gateway.model.listen import Address, Addresses
from edgeward.gateway.model.units import Network
from edgeward.parsing import Name, Value
from edgeward.placement import Selector


class TcpRoute(Value):
    """Addresses whose connections go to a service byte by byte; only admins of all projects open ports."""

    name: Name
    project: Name = "default"
    listen: Addresses = Field(min_length=1)
    """One address or a list, as ``IP:PORT``, ``[IPv6]:PORT`` or ``:PORT``."""
    service: Name
    """Where connections go: a service whose backends are all ``tcp://`` or ``unix:``. Its ``timeouts.idle``
    ends those on which nothing moves."""
    most_connections: int = Field(default=10_000, ge=1, le=1_000_000)
    """At once, on each address of each node; more are closed at once."""
    proxy_protocol: tuple[Network, ...] = Field(default=(), max_length=1000)
    """As ``listen.proxy_protocol``, for this route's addresses; with it, visitors must speak first."""
    nodes: Selector | None = None
    """Labels of the nodes that open these ports, `{region: eu}`; unset: all."""

    @model_validator(mode="after")
    def _no_address_twice(self) -> Self:
        addresses = [Address.parse(text) for text in self.listen]
        for one, other in itertools.combinations(addresses, 2):
            if one.meets(other):
                raise ValueError(f"{one} and {other} take each other's connections; keep one of them")
        return self
