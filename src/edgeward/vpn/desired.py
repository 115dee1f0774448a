"""What tunnels there should be on a node: plain values, from OpenStack's objects and our own words alike.

The controller makes them (``translate``), the feed takes them to the node, and drivers give them to daemons.
Everything is spelled in one way: a value that exists can be compared, and given to any daemon.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator

from edgeward.errors import Invalid
from edgeward.parsing import Value, checked
from edgeward.secret import Secret

DriverName = Literal["strongswan", "libreswan", "memory"]
MOST_CONNECTIONS: Final = 2_000
"""Of one gateway."""
MOST_INSIDE: Final = 64
"""Networks of this side that rootd connects a gateway's own namespace to."""


def network(text: str) -> str:
    """Give a network in canonical spelling, host bits cleared; raises Invalid."""
    try:
        return str(ipaddress.ip_network(_plain(text), strict=False))
    except ValueError:
        raise Invalid(f"'{text}' is no network; write one as 192.168.4.0/24 or 2001:db8::/64") from None


def address(text: str) -> str:
    """Give an IP address in canonical spelling, without a zone; raises Invalid."""
    try:
        return str(ipaddress.ip_address(_plain(text)))
    except ValueError:
        raise Invalid(f"'{text}' is no address; write one as 203.0.113.9 or 2001:db8::9") from None


def interface(text: str) -> str:
    """Give an address with the length of its network, as ``203.0.113.5/24``; raises Invalid."""
    try:
        return str(ipaddress.ip_interface(_plain(text)))
    except ValueError:
        raise Invalid(f"'{text}' is no address of a network; write one as 203.0.113.5/24") from None


def _plain(text: str) -> str:
    if "%" in text or not text.isascii() or not text.isprintable():
        raise ValueError(text)  # ipaddress takes any text after a '%'
    return text


def _secret(value: Any) -> Secret[str]:
    return value if isinstance(value, Secret) else Secret(str(value))


Network = Annotated[str, checked(network)]
Address = Annotated[str, checked(address)]
Interface = Annotated[str, checked(interface)]
Text = Annotated[Secret[str], PlainValidator(_secret), PlainSerializer(lambda secret: secret.reveal())]
"""A secret that is dumped in clear: only into the feed, and into what is sealed."""
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,35}$")]
"""What daemons know it by: a UUID, or 12 hexadecimal digits."""


class Desired(Value):
    """Fields of a later version are left out by an older node."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)


class Proposal(Desired):
    """One set of algorithms, spelled as OpenStack does."""

    encryption: str
    """``3des``, ``aes-128``, ``aes-256-ctr``, ``aes-128-gcm-16``, ``chacha20poly1305``."""
    integrity: str | None = None
    """``sha1 sha256 sha384 sha512 aes-xcbc aes-cmac``; with an AEAD it is IKE's PRF, and nothing of ESP."""
    groups: tuple[str, ...] = ()
    """``group14`` and so on; a second one (``mlkem768``) is an additional key exchange (RFC 9370)."""


Proposals = tuple[Proposal, ...]


def without_additional(proposals: Proposals, known: frozenset[str] = frozenset()) -> Proposals:
    """Leave out what needs an additional key exchange other than these, unless nothing would be left."""
    return tuple(one for one in proposals if set(one.groups[1:]) <= known) or proposals


class Ike(Desired):
    version: Literal[1, 2] = 2
    aggressive: bool = False
    """IKEv1 only."""
    proposals: tuple[Proposal, ...]
    """The best first."""
    lifetime: int = 3600
    """Seconds until the peers authenticate each other anew."""


class Ipsec(Desired):
    protocol: Literal["esp", "ah"] = "esp"
    mode: Literal["tunnel", "transport"] = "tunnel"
    proposals: tuple[Proposal, ...]
    lifetime: int = 3600
    """Seconds until its keys are no longer used; they are renewed before."""


class Dpd(Desired):
    """Dead peer detection."""

    action: Literal["clear", "disabled", "hold", "restart", "restart-by-peer"] = "hold"
    interval: int = 30
    """Seconds; 0 where nobody looks."""
    timeout: int = 120
    """Seconds; IKEv1 only, IKEv2 goes by its retransmissions."""


class Psk(Desired):
    type: Literal["psk"] = "psk"
    secret: Text


class Certificate(Desired):
    """Proof by certificates."""

    type: Literal["certificate"] = "certificate"
    chain: str
    """PEM, the leaf first."""
    key: Text
    """PEM."""
    authority: str
    """PEM of the authorities that the peer's certificate may come from."""


class Connection(Desired):
    """One site-to-site connection. ``id`` never changes while it is the same one."""

    id: Id
    name: str
    """As people know it: ``PROJECT/NAME``."""
    enabled: bool = True
    """False: it is known, and neither answers nor begins."""
    initiator: bool = True
    """False: only the peer begins."""
    local_address: Address
    """One of the gateway's outside; ``0.0.0.0`` or ``::`` where it shares the host's: the node says which."""
    peer_address: str
    """An address, or a name to be followed (``vpn.example.com``)."""
    local_id: str
    peer_id: str
    local_networks: tuple[Network, ...]
    peer_networks: tuple[Network, ...]
    dns: Address | None = None
    """The site's own DNS server, asked through the tunnel for the names of backends."""
    mtu: int = 1500
    ike: Ike
    ipsec: Ipsec
    dpd: Dpd = Dpd()
    auth: Annotated[Psk | Certificate, Field(discriminator="type")]

    def without_additional(self, known: frozenset[str] = frozenset()) -> Connection:
        """Give it as it is for a daemon that knows these additional key exchanges only."""
        ike = without_additional(self.ike.proposals, known)
        ipsec = without_additional(self.ipsec.proposals, known)
        if (ike, ipsec) == (self.ike.proposals, self.ipsec.proposals):
            return self
        return self.model_copy(
            update={
                "ike": self.ike.model_copy(update={"proposals": ike}),
                "ipsec": self.ipsec.model_copy(update={"proposals": ipsec}),
            }
        )


class Inside(Desired):
    """A network of the gateway's own side."""

    network: Network
    address: Address
    """The gateway's, in this network."""
    bridge: str | None = None
    """The bridge of the host that its cable is plugged into; None: the address stands on loopback, which is
    enough for what runs inside the namespace, as relays do."""


class Outside(Desired):
    """How a gateway reaches its peers."""

    addresses: tuple[Interface, ...] = ()
    """Its own, at most one of each family; none: it shares the host's, told apart by the peer's address."""
    next_hops: tuple[Address, ...] = ()
    """At most one of each family."""
    bridge: str | None = None
    """The bridge of the host that its cable is plugged into; None: the host routes to it."""


class Gateway(Desired):
    """One router: a namespace, a daemon in it, and the connections they carry."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    """What its namespace (``vpn-ID``), cables and files are named by."""
    name: str
    """As people know it: ``PROJECT/NAME``."""
    driver: DriverName = "strongswan"
    active: bool = True
    """False: everything is loaded and nothing begins, another node is the active one."""
    shared: bool = False
    """Other nodes may have it too: active is the one that holds its lease."""
    namespace: str | None = None
    """Somebody else's, which is used as it is: ``qrouter-UUID``. None: one of our own."""
    outside: Outside = Outside()
    inside: tuple[Inside, ...] = ()
    masquerade: bool = False
    """Whether what leaves for elsewhere than the tunnels gets the outside address."""
    connections: Annotated[tuple[Connection, ...], Field(max_length=MOST_CONNECTIONS)] = ()
