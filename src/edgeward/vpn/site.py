"""A site: one site-to-site connection in our own words, short for people."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from edgeward.domain_name import normalise_host
from edgeward.errors import Invalid
from edgeward.parsing import Name, Value, checked
from edgeward.placement import Selector
from edgeward.sealing import Sealed
from edgeward.vpn.desired import Address, DriverName, Interface, Network
from edgeward.vpn.desired import Dpd as DesiredDpd
from edgeward.vpn.profile import NAMED, Profile
from edgeward.vpn.proof import Proof

MOST_NETWORKS = 100


def peer(text: str) -> str:
    """Give an address, or a host name to be followed, in canonical spelling; raises Invalid."""
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else _name(text)
    except ValueError:
        return _name(text)


def _name(text: str) -> str:
    try:
        name = normalise_host(text)
    except Invalid:
        name = "*"
    if name.startswith("*") or "." not in name:
        raise Invalid(
            f"'{text[:100]}' is no peer; write an address as 203.0.113.9, or a name as vpn.example.com"
        )
    return name


def identity(text: str) -> str:
    """Give what a side calls itself: an address, a name, ``user@name`` or a distinguished name."""
    if not text.isprintable() or text != text.strip():
        raise Invalid(
            "an id is printable, without spaces around it: 203.0.113.9, @vpn.example.com, CN=berlin"
        )
    return text


def bridge(text: str) -> str:
    """Give the name of an interface; raises Invalid."""
    if not (1 <= len(text) <= 15 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()):
        raise Invalid("a bridge has 1 to 15 letters, digits, hyphens and underscores")
    return text


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _shape(value: object) -> str:
    return "name" if isinstance(value, str) else "knobs"


Identity = Annotated[str, Field(min_length=1, max_length=255), checked(identity)]
Bridge = Annotated[str, checked(bridge)]
Networks = Annotated[
    tuple[Network, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=MOST_NETWORKS)
]


class Dpd(Value):
    """What happens when the peer is silent."""

    action: Literal["restart", "clear", "hold", "disabled"] = "restart"
    """`restart`: begin again; `hold`: when something is to be sent; `clear`: wait for the peer; `disabled`:
    nobody looks."""
    interval: int = Field(default=30, ge=1, le=3600)
    """Seconds of silence until the peer is asked."""
    timeout: int = Field(default=120, ge=2, le=86400)
    """Seconds until it counts as dead; IKEv1 only, IKEv2 goes by its retransmissions."""

    def desired(self) -> DesiredDpd:
        interval = 0 if self.action == "disabled" else self.interval
        return DesiredDpd(action=self.action, interval=interval, timeout=self.timeout)


class Outside(Value):
    """How the gateway reaches its peers."""

    address: tuple[Interface, ...] = Field(default=(), max_length=2)
    """Its own, as `203.0.113.5/24`, one of each family at most; unset: it shares the host's."""
    next_hop: tuple[Address, ...] = Field(default=(), max_length=2)
    """The router there, one of each family at most."""
    bridge: Bridge | None = None
    """The bridge of the host that its cable is plugged into; unset: the host routes to it."""

    @model_validator(mode="before")
    @classmethod
    def _single(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        return {k: _as_list(v) if k in ("address", "next_hop") else v for k, v in data.items()}

    @model_validator(mode="after")
    def _one_of_each_family(self) -> Self:
        for field in ("address", "next_hop"):
            families = [":" in text for text in getattr(self, field)]
            if len(set(families)) < len(families):
                raise ValueError(f"{field} takes one address of each family; leave the second one out")
        for hop in self.next_hop:
            if not any(ipaddress.ip_address(hop) in ipaddress.ip_interface(a).network for a in self.address):
                raise ValueError(f"next_hop {hop} is in the network of no address here; is the length right?")
        return self


class Inside(Value):
    """A network of this side."""

    network: Network
    """As under `local_networks`, or one around it."""
    address: Address | None = None
    """The gateway's in it; unset: the first one."""
    bridge: Bridge | None = None
    """The bridge of the host that its cable is plugged into; unset: the address serves what runs in the
    gateway itself, as relays do."""

    @model_validator(mode="after")
    def _address_is_in_it(self) -> Self:
        network = ipaddress.ip_network(self.network)
        if self.address is not None and ipaddress.ip_address(self.address) not in network:
            raise ValueError(f"{self.address} is not in {self.network}; give one that is, or leave it out")
        return self


class Site(Value):
    """A site-to-site connection: the networks of this side and of the other one, and how they are joined."""

    name: Name
    project: Name = "default"
    router: Name | None = None
    """Connections with the same router share one gateway; unset: a gateway of its own, so that two sites may
    have the same networks."""
    peer: Annotated[str, checked(peer)]
    """The other side's address, or its name, which is followed when its address changes."""
    local_networks: Networks
    """This side's, one or a list, as `10.1.0.0/24`."""
    remote_networks: Networks
    """The other side's, one or a list."""
    local_id: Identity | None = None
    """What this side calls itself; unset: its certificate's name, else its outside address."""
    remote_id: Identity | None = None
    """What the peer calls itself; unset: as under `peer`."""
    secret: Sealed | None = None
    """The pre-shared key."""
    certificate: Proof | None = None
    """In place of a pre-shared key: both sides show certificates."""
    profile: Annotated[
        Annotated[Literal["modern", "compatible"], Tag("name")] | Annotated[Profile, Tag("knobs")],
        Discriminator(_shape),
    ] = "modern"
    """`modern`: IKEv2, AES-GCM, ECP-384, with ML-KEM where the daemon has it; `compatible`: what older
    devices can do; or every knob."""
    dns: Address | None = None
    """The site's own DNS server, asked through the tunnel for the names of backends behind the site."""
    dpd: Dpd = Dpd()
    """What happens when the peer is silent."""
    mtu: int = Field(default=1400, ge=576, le=9000)
    """The largest packet that goes through the tunnel, in bytes, before it is encrypted."""
    initiator: bool = True
    """Whether this side begins; else it waits for the peer."""
    enabled: bool = True
    """False: it stays declared, and neither side brings it up."""
    driver: DriverName | None = None
    """The daemon: `strongswan` (meant where none is said), `libreswan`, or `memory` for trying out."""
    outside: Outside | None = None
    """How the gateway reaches its peers; unset: from the host's own address."""
    inside: tuple[Inside, ...] = Field(default=(), max_length=MOST_NETWORKS)
    """How this side's networks are reached where that is to be said: with a bridge, or another address."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    """Somebody else's network namespace, used as it is, as `qrouter-UUID`; unset: one of its own."""
    nodes: Selector | None = None
    """Labels of the nodes that may have the gateway, `{region: eu}`; unset: all. One has it active."""

    @property
    def identity(self) -> str | None:
        """What this side calls itself, where that is not its address."""
        proof = self.certificate
        return self.local_id or (f"@{proof.name}" if proof is not None else None)

    @property
    def gateway(self) -> str:
        """The name of the router that carries it."""
        return self.router or self.name

    @property
    def of_host(self) -> tuple[str, ...]:
        """The fields that take something of the host's: addresses, bridges, namespaces."""
        bridged = (f"inside[{i}].bridge" for i, one in enumerate(self.inside) if one.bridge is not None)
        said = (field for field in ("outside", "namespace") if getattr(self, field) is not None)
        return (*said, *bridged)

    @property
    def knobs(self) -> Profile:
        return NAMED[self.profile] if isinstance(self.profile, str) else self.profile

    def has(self, address: str) -> bool:
        """Tell whether an address is one of the other side's networks."""
        found = ipaddress.ip_address(address)
        return any(found in ipaddress.ip_network(network) for network in self.remote_networks)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.secret is None) == (self.certificate is None):
            raise ValueError(
                "say how the peers know each other: either secret: {file: PATH}, or certificate: {name: …}"
            )
        if self.dns is not None and not self.has(self.dns):
            raise ValueError(f"dns {self.dns} is in none of remote_networks, so that no tunnel leads to it")
        remote = [ipaddress.ip_network(network) for network in self.remote_networks]
        for ours in map(ipaddress.ip_network, self.local_networks):
            for theirs in remote:
                if ours.version == theirs.version and ours.overlaps(theirs):
                    raise ValueError(
                        f"{ours} here and {theirs} there overlap; a packet could belong to either"
                    )
        return self
