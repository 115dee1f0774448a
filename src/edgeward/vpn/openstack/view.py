"""What is declared, as rules and translation look at it: objects by where they stand, and who means whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Protocol, TypeVar

from edgeward.parsing import Value
from edgeward.vpn.openstack.identity import Known
from edgeward.vpn.openstack.networks import ExternalGateway, Network, Router, Subnet
from edgeward.vpn.openstack.policies import IkePolicy, IpsecPolicy
from edgeward.vpn.openstack.services import EndpointGroup, SiteConnection, VpnService

Ref = tuple[str, str, str]
"""An object's kind, project and name."""
V = TypeVar("V", bound=Value)


class View(Protocol):
    """Everything declared."""

    def declared(self, ref: Ref) -> Value | None:
        """Give an object."""

    def meaning(self, ref: Ref) -> Collection[Ref]:
        """Give the objects that name this one in any of their fields."""

    def external(self, name: str) -> Ref | None:
        """Give the external network of this name, whosever it is."""


def one(view: View, model: type[V], kind: str, project: str, name: str) -> V | None:
    """Give an object if it is there and of this model."""
    found = view.declared((kind, project, name))
    return found if isinstance(found, model) else None


def references(project: str, value: Value) -> Iterator[tuple[str, Ref]]:
    """Give what an object names: the field, and whom it means. An external network may be anybody's, see
    ``network_of``.
    """
    if isinstance(value, Subnet):
        yield "network", ("networks", project, value.network)
    elif isinstance(value, Router):
        if value.gateway is not None:
            yield "gateway.network", ("networks", project, value.gateway.network)
        for index, fixed in enumerate(value.interfaces):
            yield f"interfaces[{index}].subnet", ("subnets", project, fixed.subnet)
    elif isinstance(value, VpnService):
        yield "router", ("routers", project, value.router)
        if value.subnet is not None:
            yield "subnet", ("subnets", project, value.subnet)
    elif isinstance(value, EndpointGroup):
        if value.type == "subnet":
            for index, name in enumerate(value.endpoints):
                yield f"endpoints[{index}]", ("subnets", project, name)
    elif isinstance(value, SiteConnection):
        yield "vpnservice", ("vpnservices", project, value.vpnservice)
        yield "ikepolicy", ("ikepolicies", project, value.ikepolicy)
        yield "ipsecpolicy", ("ipsecpolicies", project, value.ipsecpolicy)
        for field in ("local_ep_group", "peer_ep_group"):
            if (name := getattr(value, field)) is not None:
                yield field, ("endpoint_groups", project, name)


def network_of(view: View, project: str, name: str) -> Ref | None:
    """Give the network that a router means: its project's, else an external one of any other."""
    own = ("networks", project, name)
    return own if view.declared(own) is not None else view.external(name)


def outside(view: View, project: str, gateway: ExternalGateway) -> Iterator[tuple[Subnet, str]]:
    """Give the subnets of a router's outside, each with the router's address in it."""
    network = network_of(view, project, gateway.network)
    if network is None:
        return
    for fixed in gateway.addresses:
        subnet = one(view, Subnet, "subnets", network[1], fixed.subnet)
        if subnet is not None:
            yield subnet, fixed.address


def is_external(view: View, ref: Ref) -> bool:
    """Whether a network is one that routers have their gateways in."""
    found = view.declared(ref)
    return isinstance(found, Network) and found.external


KINDS: Final[Mapping[type[Known], str]] = {
    Network: "networks",
    Subnet: "subnets",
    Router: "routers",
    IkePolicy: "ikepolicies",
    IpsecPolicy: "ipsecpolicies",
    VpnService: "vpnservices",
    EndpointGroup: "endpoint_groups",
    SiteConnection: "ipsec_site_connections",
}


class Objects:
    """A view of values, whatever else there is among them."""

    def __init__(self, values: Iterable[Value]) -> None:
        known = [value for value in values if isinstance(value, Known)]
        self._found: dict[Ref, Known] = {(KINDS[type(v)], v.project, v.name): v for v in known}
        self._externals: dict[str, Ref] = {}
        self._meaning: dict[Ref, list[Ref]] = defaultdict(list)
        for ref, value in sorted(self._found.items(), key=lambda item: item[0]):
            if isinstance(value, Network) and value.external:
                self._externals.setdefault(value.name, ref)
            for _, meant in references(value.project, value):
                self._meaning[meant].append(ref)

    def __getitem__(self, ref: Ref) -> Value:
        return self._found[ref]

    def of(self, model: type[V]) -> list[V]:
        """Give all of one model."""
        return [value for value in self._found.values() if isinstance(value, model)]

    def declared(self, ref: Ref) -> Value | None:
        return self._found.get(ref)

    def meaning(self, ref: Ref) -> Collection[Ref]:
        return self._meaning.get(ref, ())

    def external(self, name: str) -> Ref | None:
        return self._externals.get(name)
