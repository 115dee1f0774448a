"""What may not be changed or deleted because something else needs it, as Neutron says it."""

from __future__ import annotations

from collections.abc import Collection

from edgeward.api.openstack.faults import Fault
from edgeward.api.openstack.usecases import Seen
from edgeward.vpn.openstack.identity import id_of
from edgeward.vpn.openstack.networks import Router, Subnet
from edgeward.vpn.openstack.services import EndpointGroup, SiteConnection, VpnService
from edgeward.vpn.openstack.view import Ref, one


def of(view: Seen, ref: Ref) -> Fault | None:
    """Say what stands in the way of deleting an object."""
    kind = ref[0]
    if kind in ("ikepolicies", "ipsecpolicies"):
        return of_policy(view, ref)
    users = view.meaning(ref)
    if kind == "vpnservices" and users:
        return Fault(409, "VPNServiceInUse", f"VPNService {id_of(*ref)} is still in use")
    if kind == "endpoint_groups" and users:
        message = f"Endpoint group {id_of(*ref)} is in use and cannot be deleted"
        return Fault(400, "EndpointGroupInUse", message)
    if kind == "routers":
        return of_router(view, ref) or _of_ports(view, ref)
    if kind == "subnets":
        return _of_subnet(view, ref, users)
    if kind == "networks":
        return _of_network(view, ref, users)
    return None


def of_policy(view: Seen, ref: Ref) -> Fault | None:
    """Say so where a policy is in use: then it cannot be changed either."""
    if not view.meaning(ref):
        return None
    name = "IKEPolicy" if ref[0] == "ikepolicies" else "IPsecPolicy"
    message = (
        f"{name} {id_of(*ref)} is in use by existing IPsecSiteConnection and can't be updated or deleted"
    )
    return Fault(409, f"{name}InUse", message)


def of_router(view: Seen, ref: Ref) -> Fault | None:
    """Say so where services need a router: then it cannot lose its gateway either."""
    services = sorted(id_of(*user) for user in view.meaning(ref) if user[0] == "vpnservices")
    if not services:
        return None
    which = f"service{'s' if len(services) > 1 else ''} ({','.join(services)})"
    return Fault(409, "RouterInUse", f"Router {id_of(*ref)} is currently used by VPN {which}")


def of_interface(view: Seen, router: Ref, subnet: Ref) -> Fault | None:
    """Say so where a service or a connection needs a router's interface."""
    users = sorted(user for user in view.meaning(router) if user[0] == "vpnservices")
    for user in users:
        service = one(view, VpnService, *user)
        if service is not None and service.subnet == subnet[2]:
            message = f"Subnet {id_of(*subnet)} is used by VPNService {id_of(*user)}"
            return Fault(409, "SubnetInUseByVPNService", message)
    for user in users:
        for ref in sorted(view.meaning(user)):
            connection = view.declared(ref)
            if isinstance(connection, SiteConnection) and _joins(view, connection, subnet[2]):
                message = f"Subnet {id_of(*subnet)} is used by ipsec site connection {id_of(*ref)}"
                return Fault(409, "SubnetInUseByIPsecSiteConnection", message)
    return None


def _joins(view: Seen, connection: SiteConnection, subnet: str) -> bool:
    if connection.local_ep_group is None:
        return False
    group = one(view, EndpointGroup, "endpoint_groups", connection.project, connection.local_ep_group)
    return group is not None and group.type == "subnet" and subnet in group.endpoints


def _of_ports(view: Seen, ref: Ref) -> Fault | None:
    router = view.declared(ref)
    if isinstance(router, Router) and router.interfaces:
        return Fault(409, "RouterInUse", f"Router {id_of(*ref)} still has ports")
    return None


def _of_subnet(view: Seen, ref: Ref, users: Collection[Ref]) -> Fault | None:
    groups = sorted(id_of(*user) for user in users if user[0] == "endpoint_groups")
    if groups:
        message = f"Subnet {id_of(*ref)} is used by endpoint group {groups[0]}"
        return Fault(409, "SubnetInUseByEndpointGroup", message)
    if users or any(_stands_in(view, user, ref) for user in _routers_outside(view, ref)):
        message = (
            f"Unable to complete operation on subnet {id_of(*ref)}:"
            " One or more ports have an IP allocation from this subnet."
        )
        return Fault(409, "SubnetInUse", message)
    return None


def _routers_outside(view: Seen, subnet: Ref) -> Collection[Ref]:
    value = one(view, Subnet, *subnet)
    return () if value is None else view.meaning(("networks", subnet[1], value.network))


def _stands_in(view: Seen, ref: Ref, subnet: Ref) -> bool:
    router = view.declared(ref)
    if not isinstance(router, Router) or router.gateway is None:
        return False
    return any(fixed.subnet == subnet[2] for fixed in router.gateway.addresses)


def _of_network(view: Seen, ref: Ref, users: Collection[Ref]) -> Fault | None:
    subnets = [user for user in users if user[0] == "subnets"]
    routers = [user for user in users if user[0] == "routers"]
    if routers or any(of(view, subnet) is not None for subnet in subnets):
        message = (
            f"Unable to complete operation on network {id_of(*ref)}."
            " There are one or more ports still in use on the network."
        )
        return Fault(409, "NetworkInUse", message)
    return None
