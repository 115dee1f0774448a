"""Networks, subnets and routers, as far as tunnels touch them: where a gateway stands, and between what."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from edgeward.parsing import Name, Value
from edgeward.placement import Selector
from edgeward.vpn import desired
from edgeward.vpn.openstack.identity import Known

BRIDGE: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$"
MOST_PLACES: Final = 8
"""Addresses of a router on its outside."""
_NAMESPACE = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"


class Network(Known):
    """One network: an external one is where gateways reach their peers, any other is on a site's inside."""

    external: bool = False
    """Whether routers of every project may have their gateway here."""
    bridge: str | None = Field(default=None, pattern=BRIDGE)
    """The bridge of the host that it is on (OpenStack's ``provider:physical_network``); of none: the host
    routes to the gateways in it."""
    mtu: int = Field(default=1500, ge=68, le=65535)
    """Bytes."""


class Pool(Value):
    """A range of addresses, both ends included."""

    start: desired.Address
    """The first."""
    end: desired.Address
    """The last."""


class Subnet(Known):
    """The addresses of a network, of one family."""

    network: Name
    """Which network has them."""
    cidr: desired.Network
    """As ``192.168.4.0/24``."""
    gateway_ip: desired.Address | None = None
    """Of an external network: where gateways send what leaves. Of any other: its router's address."""
    pools: Annotated[tuple[Pool, ...], Field(max_length=100)] = ()
    """What addresses are taken from; if none is given, all of it."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_network(self.cidr).version

    @model_validator(mode="after")
    def _inside(self) -> Self:
        network = ipaddress.ip_network(self.cidr)
        for pool in self.pools:
            start, end = ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end)
            if start not in network or end not in network or int(start) > int(end):
                raise ValueError(f"the pool {pool.start} to {pool.end} is not a range of {self.cidr}")
        if self.gateway_ip is not None and ipaddress.ip_address(self.gateway_ip).version != network.version:
            raise ValueError(f"gateway_ip {self.gateway_ip} is of another family than {self.cidr}")
        return self


class Fixed(Value):
    """An address in a subnet."""

    subnet: Name
    """Which subnet it is of."""
    address: desired.Address
    """The address."""


class ExternalGateway(Value):
    """Where a router leaves for the world."""

    network: Name
    """An external network."""
    addresses: Annotated[tuple[Fixed, ...], Field(max_length=MOST_PLACES)] = ()
    """The router's own in it; the first of each family is where its tunnels end."""
    snat: bool = True
    """Whether what leaves for elsewhere than the tunnels gets the router's address."""


class Router(Known):
    """One gateway: a network namespace with a daemon in it, and the tunnels of its services."""

    enabled: bool = True
    """False: none of its tunnels is up (OpenStack's ``admin_state_up``)."""
    gateway: ExternalGateway | None = None
    """Where it leaves for the world."""
    interfaces: Annotated[tuple[Fixed, ...], Field(max_length=1000)] = ()
    """The subnets on its inside, with its address in each."""
    namespace: str | None = Field(default=None, pattern=_NAMESPACE)
    """Somebody else's network namespace to be used as it is, as ``qrouter-UUID``; if none is given, one
    of our own is made."""
    nodes: Selector | None = None
    """Which nodes may have it; if none is given, any one."""

    def interface(self, subnet: str) -> Fixed | None:
        """Give its address in a subnet."""
        return next((fixed for fixed in self.interfaces if fixed.subnet == subnet), None)
