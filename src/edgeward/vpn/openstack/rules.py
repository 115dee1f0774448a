"""What must hold between OpenStack's objects, in Neutron's order and Neutron's words.

Every rule gives what is wrong first, or None. ``shown`` says how an object is called in messages: by its id
where OpenStack's clients ask, by its name where a file declares it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from edgeward.vpn.desired import MOST_CONNECTIONS
from edgeward.vpn.openstack.networks import Router, Subnet
from edgeward.vpn.openstack.policies import IkePolicy, IpsecPolicy
from edgeward.vpn.openstack.services import LEAST_MTU, EndpointGroup, SiteConnection, VpnService
from edgeward.vpn.openstack.view import Ref, View, one, references

Shown = Callable[[Ref], str]


@dataclass(frozen=True)
class Wrong:
    """One thing that does not hold: Neutron's name of it, its sentence, the field here, the HTTP status."""

    type: str
    message: str
    field: str
    status: int = 400


MISSING: Final = {
    "vpnservices": ("VPNServiceNotFound", "VPNService {} could not be found"),
    "ikepolicies": ("IKEPolicyNotFound", "IKEPolicy {} could not be found"),
    "ipsecpolicies": ("IPsecPolicyNotFound", "IPsecPolicy {} could not be found"),
    "endpoint_groups": ("VPNEndpointGroupNotFound", "Endpoint group {} could not be found"),
    "ipsec_site_connections": ("IPsecSiteConnectionNotFound", "ipsec_site_connection {} not found"),
    "routers": ("RouterNotFound", "Router {} could not be found"),
    "subnets": ("SubnetNotFound", "Subnet {} could not be found."),
    "networks": ("NetworkNotFound", "Network {} could not be found."),
    "ports": ("PortNotFound", "Port {} could not be found."),
}


def missing(kind: str, shown: str, field: str = "") -> Wrong:
    """Say that there is no such object."""
    type_, message = MISSING[kind]
    return Wrong(type_, message.format(shown), field, 404)


def of_service(view: View, project: str, service: VpnService, shown: Shown) -> Wrong | None:
    """Look at a service: its router reaches the world, and its subnet is one of the router's."""
    ref = ("routers", project, service.router)
    router = one(view, Router, *ref)
    if router is None:
        return missing("routers", shown(ref), "router")
    if router.gateway is None:
        message = f"Router {shown(ref)} has no external network gateway set"
        return Wrong("RouterIsNotExternal", message, "router")
    if service.subnet is not None and router.interface(service.subnet) is None:
        return _unconnected(project, service.subnet, ref, shown, "subnet")
    others = [other for other in _services(view, ref) if other.name != service.name]
    if service.driver and any(other.driver not in (None, service.driver) for other in others):
        message = f"Router {shown(ref)} has a VPN service of another flavor, and one daemon for both"
        return Wrong("Conflict", message, "driver", 409)
    return None


def of_quota(view: View, project: str, connection: SiteConnection) -> Wrong | None:
    """Look whether a router has room for a connection, which may be among its own already."""
    service = one(view, VpnService, "vpnservices", project, connection.vpnservice)
    services = [] if service is None else _services(view, ("routers", project, service.router))
    users = [view.meaning(("vpnservices", project, s.name)) for s in services]
    own = ("ipsec_site_connections", project, connection.name)
    if sum(map(len, users)) - any(own in some for some in users) < MOST_CONNECTIONS:
        return None
    message = "Quota exceeded for resources: ['ipsec_site_connection']."
    return Wrong("OverQuota", message, "vpnservice", 409)


def _services(view: View, router: Ref) -> list[VpnService]:
    refs = [ref for ref in view.meaning(router) if ref[0] == "vpnservices"]
    return [service for ref in refs if (service := one(view, VpnService, *ref)) is not None]


def of_connection(
    view: View, project: str, connection: SiteConnection, shown: Shown, *, mtu: bool = True
) -> Wrong | None:
    """Look at a connection, but for its peer's address (``of_peer``). ``mtu``: whether that was said."""
    steps: tuple[Callable[[], Wrong | None], ...] = (
        lambda: _of_protocol(view, project, connection),
        lambda: _of_parts(view, project, connection, shown),
        lambda: _of_ends(view, project, connection, shown),
        lambda: _of_dpd(connection),
        lambda: _of_mtu(view, project, connection) if mtu else None,
    )
    return next((wrong for step in steps if (wrong := step()) is not None), None)


def of_peer(view: View, project: str, connection: SiteConnection, address: str, shown: Shown) -> Wrong | None:
    """Look whether the router has an address of the peer's family."""
    service = one(view, VpnService, "vpnservices", project, connection.vpnservice)
    ref = ("routers", project, service.router if service is not None else "")
    router = one(view, Router, *ref)
    version = ipaddress.ip_address(address).version
    if router is None or router.gateway is None:
        return None
    if any(ipaddress.ip_address(fixed.address).version == version for fixed in router.gateway.addresses):
        return None
    message = f"Router's {shown(ref)} external network has no IPv{version} subnet"
    return Wrong("ExternalNetworkHasNoSubnet", message, "peer_address")


def of_group(view: View, project: str, group: EndpointGroup, shown: Shown) -> Wrong | None:
    """Look at an endpoint group: nothing twice, and subnets that are there."""
    if len(set(group.endpoints)) < len(group.endpoints):
        twice = next(e for e in group.endpoints if group.endpoints.count(e) > 1)
        message = f"Endpoint '{twice}' is invalid for group type '{group.type}': Endpoints have to be unique"
        return Wrong("InvalidEndpointInEndpointGroup", message, "endpoints")
    for field, ref in references(project, group):
        if view.declared(ref) is None:
            message = f"Subnet {shown(ref)} in endpoint group does not exist"
            return Wrong("NonExistingSubnetInEndpointGroup", message, field)
    return None


def local_subnets(view: View, project: str, connection: SiteConnection) -> list[Subnet]:
    """Give the subnets at this end."""
    service = one(view, VpnService, "vpnservices", project, connection.vpnservice)
    names: Sequence[str] = ()
    if connection.local_ep_group is not None:
        group = one(view, EndpointGroup, "endpoint_groups", project, connection.local_ep_group)
        names = group.endpoints if group is not None and group.type == "subnet" else ()
    elif service is not None and service.subnet is not None:
        names = (service.subnet,)
    found = (one(view, Subnet, "subnets", project, name) for name in names)
    return [subnet for subnet in found if subnet is not None]


def peer_networks(view: View, project: str, connection: SiteConnection) -> tuple[str, ...]:
    """Give the networks at the peer's, as they were written."""
    if connection.peer_ep_group is None:
        return connection.peer_cidrs
    group = one(view, EndpointGroup, "endpoint_groups", project, connection.peer_ep_group)
    return group.endpoints if group is not None and group.type == "cidr" else ()


def _of_protocol(view: View, project: str, connection: SiteConnection) -> Wrong | None:
    policy = one(view, IpsecPolicy, "ipsecpolicies", project, connection.ipsecpolicy)
    if policy is None or policy.transform_protocol != "ah-esp":
        return None
    message = "IPSec does not support IPsec Policy attribute transform_protocol with value 'ah-esp'"
    return Wrong("IpsecValidationFailure", message, "ipsecpolicy")


def _of_parts(view: View, project: str, connection: SiteConnection, shown: Shown) -> Wrong | None:
    parts = (
        ("vpnservice", "vpnservices", VpnService),
        ("ikepolicy", "ikepolicies", IkePolicy),
        ("ipsecpolicy", "ipsecpolicies", IpsecPolicy),
    )
    for field, kind, model in parts:
        ref = (kind, project, getattr(connection, field))
        if not isinstance(view.declared(ref), model):
            return missing(kind, shown(ref), field)
    return None


def _of_ends(view: View, project: str, connection: SiteConnection, shown: Shown) -> Wrong | None:
    """Look at how the networks of both ends are said, and whether they fit each other."""
    service = one(view, VpnService, "vpnservices", project, connection.vpnservice)
    assert service is not None
    if service.subnet is not None:
        return _of_legacy(view, project, connection)
    if connection.peer_cidrs:
        message = "Peer CIDRs cannot be specified, when using endpoint groups"
        return Wrong("PeerCidrsInvalid", message, "peer_cidrs")
    said = (("local", connection.local_ep_group), ("peer", connection.peer_ep_group))
    if absent := [which for which, group in said if not group]:
        message = f"Missing endpoint group{_these(absent)} for IPSec site-to-site connection"
        return Wrong("MissingRequiredEndpointGroup", message, f"{absent[0]}_ep_group")
    return _of_groups(view, project, connection, service, shown)


def _of_legacy(view: View, project: str, connection: SiteConnection) -> Wrong | None:
    if not connection.peer_cidrs:
        message = "Missing peer CIDRs for IPsec site-to-site connection"
        return Wrong("MissingPeerCidrs", message, "peer_cidrs")
    said = (("local", connection.local_ep_group), ("peer", connection.peer_ep_group))
    if given := [which for which, group in said if group]:
        message = f"Endpoint group{_these(given)} cannot be specified, when VPN Service has subnet specified"
        return Wrong("InvalidEndpointGroup", message, f"{given[0]}_ep_group")
    versions = _versions(connection.peer_cidrs)
    if len(versions) > 1:
        message = "Peer CIDRs do not have the same IP version, as required for IPSec site-to-site connection"
        return Wrong("MixedIPVersionsForPeerCidrs", message, "peer_cidrs")
    return _compatible(local_subnets(view, project, connection), versions)


def _of_groups(
    view: View, project: str, connection: SiteConnection, service: VpnService, shown: Shown
) -> Wrong | None:
    groups = {}
    for field in ("local_ep_group", "peer_ep_group"):
        ref = ("endpoint_groups", project, getattr(connection, field))
        groups[field] = group = one(view, EndpointGroup, *ref)
        if group is None:
            return missing("endpoint_groups", shown(ref), field)
    local, peer = groups["local_ep_group"], groups["peer_ep_group"]
    assert local is not None
    assert peer is not None
    if local.type != "subnet":
        return _other_type(local, "subnet", shown(("endpoint_groups", project, local.name)), "local_ep_group")
    router = ("routers", project, service.router)
    found = one(view, Router, *router)
    for name in local.endpoints:
        if found is None or found.interface(name) is None:
            return _unconnected(project, name, router, shown, "local_ep_group")
    subnets = local_subnets(view, project, connection)
    if len({subnet.version for subnet in subnets}) > 1:
        return _mixed(shown(("endpoint_groups", project, local.name)), "local_ep_group")
    if peer.type != "cidr":
        return _other_type(peer, "cidr", shown(("endpoint_groups", project, peer.name)), "peer_ep_group")
    versions = _versions(peer.endpoints)
    if len(versions) > 1:
        return _mixed(shown(("endpoint_groups", project, peer.name)), "peer_ep_group")
    return _compatible(subnets, versions)


def _of_dpd(connection: SiteConnection) -> Wrong | None:
    if connection.dpd.timeout > connection.dpd.interval:
        return None
    message = "ipsec_site_connection dpd_timeout is equal to or less than dpd_interval"
    return Wrong("IPsecSiteConnectionDpdIntervalValueError", message, "dpd.timeout")


def _of_mtu(view: View, project: str, connection: SiteConnection) -> Wrong | None:
    version = next((subnet.version for subnet in local_subnets(view, project, connection)), 4)
    if not connection.mtu or connection.mtu >= LEAST_MTU[version]:
        return None
    message = f"ipsec_site_connection MTU {connection.mtu} is too small for ipv{version}"
    return Wrong("IPsecSiteConnectionMtuError", message, "mtu")


def _compatible(subnets: Sequence[Subnet], versions: set[int]) -> Wrong | None:
    if not subnets or {subnets[0].version} == versions:
        return None
    message = "IP versions are not compatible between peer and local endpoints"
    return Wrong("MixedIPVersionsForIPSecConnection", message, "")


def _versions(networks: Iterable[str]) -> set[int]:
    return {ipaddress.ip_network(text, strict=False).version for text in networks}


def _these(which: Sequence[str]) -> str:
    return f"{'s' if len(which) > 1 else ''} {' and '.join(which)}"


def _unconnected(project: str, subnet: str, router: Ref, shown: Shown, field: str) -> Wrong:
    message = f"Subnet {shown(('subnets', project, subnet))} is not connected to Router {shown(router)}"
    return Wrong("SubnetIsNotConnectedToRouter", message, field)


def _other_type(group: EndpointGroup, expected: str, shown: str, field: str) -> Wrong:
    message = f"Endpoint group {shown} type is '{group.type}' and should be '{expected}'"
    return Wrong("WrongEndpointGroupType", message, field)


def _mixed(shown: str, field: str) -> Wrong:
    message = f"Endpoints in group {shown} do not have the same IP version"
    required = "as required for IPSec site-to-site connection"
    return Wrong("MixedIPVersionsForIPSecEndpoints", f"{message}, {required}", field)
