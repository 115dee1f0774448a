"""VPN services, endpoint groups and site connections: which sites are joined, and how."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from edgeward.errors import Invalid
from edgeward.parsing import Name, Value, checked
from edgeward.sealing import Sealed
from edgeward.vpn import desired
from edgeward.vpn.openstack import choices
from edgeward.vpn.openstack.identity import Known

LEAST_MTU = {4: 68, 6: 1280}
_Id = Annotated[str, Field(max_length=1024)]


def _network(text: str) -> str:
    """Give a network as it was written: OpenStack keeps host bits."""
    desired.network(text)
    return text


Cidr = Annotated[str, checked(_network)]


class VpnService(Known):
    """What binds connections to a router."""

    router: Name
    """Where its tunnels end."""
    subnet: Name | None = None
    """The subnet at this end, where connections say ``peer_cidrs`` instead of naming endpoint groups."""
    driver: desired.DriverName | None = None
    """Which daemon carries its tunnels (a flavor to OpenStack's clients); if none is given, strongSwan."""
    admin_state_up: bool = True
    """False: its connections are kept and down."""


class EndpointGroup(Known):
    """What is joined at one end: subnets here, networks at the peer's."""

    type: choices.EndpointType
    """``subnet`` at this end, ``cidr`` at the peer's; the others are kept and cannot be used."""
    endpoints: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
    """Names of subnets, or networks as ``10.2.0.0/24``."""

    @model_validator(mode="after")
    def _networks(self) -> Self:
        if self.type == "cidr":
            for index, text in enumerate(self.endpoints):
                try:
                    desired.network(text)
                except Invalid as error:
                    raise ValueError(f"endpoints[{index}]: {error}") from error
        return self


class Dpd(Value):
    """Dead peer detection."""

    action: choices.DpdAction = "hold"
    """What happens when the peer is gone."""
    interval: int = Field(default=30, ge=0)
    """Seconds between looks."""
    timeout: int = Field(default=120, ge=0)
    """Seconds until it counts as gone (IKEv1); more than the interval."""


class SiteConnection(Known):
    """One connection between a site here and a peer's."""

    vpnservice: Name
    """The service it belongs to, and by that its router."""
    ikepolicy: Name
    """How the sites prove who they are."""
    ipsecpolicy: Name
    """How traffic is protected."""
    peer_address: Annotated[str, Field(min_length=1, max_length=255)]
    """The peer's address, or a name that is followed."""
    peer_id: _Id
    """What the peer calls itself."""
    local_id: _Id = ""
    """What we call ourselves; if none is given, the router's outside address."""
    psk: Sealed | None = None
    """The pre-shared key; if none is given, the empty one, which OpenStack allows and daemons may not."""
    peer_cidrs: Annotated[tuple[Cidr, ...], Field(max_length=1000)] = ()
    """The networks at the peer's, where the service names a subnet."""
    local_ep_group: Name | None = None
    """What is joined at this end."""
    peer_ep_group: Name | None = None
    """What is joined at the peer's."""
    mtu: int = Field(default=1500, ge=0)
    """Bytes; 0: nothing is said about it."""
    initiator: choices.Initiator = "bi-directional"
    """``response-only``: only the peer begins."""
    dpd: Dpd = Dpd()
    """Dead peer detection."""
    admin_state_up: bool = True
    """False: it is kept and down."""
