"""The bodies of answers: what is declared, as Neutron shows it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from edgeward.api.openstack.discovery import flavor_of
from edgeward.api.openstack.usecases import Phases, Seen
from edgeward.vpn.naming import gateway_id
from edgeward.vpn.openstack.addresses import pools
from edgeward.vpn.openstack.identity import Known, id_of, label_of
from edgeward.vpn.openstack.networks import ExternalGateway, Network, Router, Subnet
from edgeward.vpn.openstack.policies import IkePolicy, IpsecPolicy
from edgeward.vpn.openstack.services import EndpointGroup, SiteConnection, VpnService
from edgeward.vpn.openstack.view import Ref, network_of, one, outside

Body = dict[str, Any]
_PORTS: Final = uuid.UUID("9b7ed6f4-9d0f-5c1b-b1cd-8a6b2e6a4f10")


@dataclass(frozen=True)
class Showing:
    """Shows objects of one view. ``psk`` gives what of a connection's secret may be shown."""

    view: Seen
    phases: Phases
    psk: Callable[[SiteConnection], str | None]

    def body(self, ref: Ref) -> Body:
        """Give the body of an object; raises KeyError where it is not there."""
        value = self.view.declared(ref)
        if not isinstance(value, Known):
            raise KeyError(ref)
        common = {
            "id": id_of(*ref),
            "tenant_id": value.project,
            "project_id": value.project,
            "name": label_of(value),
            "description": value.description,
        }
        return common | self._own(value)

    def _own(self, value: Known) -> Body:
        if isinstance(value, SiteConnection):
            return self._connection(value)
        if isinstance(value, VpnService):
            return self._service(value)
        if isinstance(value, EndpointGroup):
            return self._group(value)
        if isinstance(value, (IkePolicy, IpsecPolicy)):
            return value.model_dump(exclude={"name", "project", "label", "description"})
        if isinstance(value, Network):
            return self._network(value)
        if isinstance(value, Subnet):
            return self._subnet(value)
        assert isinstance(value, Router)
        return self._router(value)

    def _connection(self, value: SiteConnection) -> Body:
        project = value.project
        groups = {
            f"{field}_id": None if (name := getattr(value, field)) is None else id_of(_GROUPS, project, name)
            for field in ("local_ep_group", "peer_ep_group")
        }
        return {
            "peer_address": value.peer_address,
            "peer_id": value.peer_id,
            "local_id": value.local_id,
            "route_mode": "static",
            "mtu": value.mtu,
            "auth_mode": "psk",
            "psk": self.psk(value),
            "initiator": value.initiator,
            "dpd": value.dpd.model_dump(),
            "admin_state_up": value.admin_state_up,
            "status": self._connection_status(value),
            "vpnservice_id": id_of("vpnservices", project, value.vpnservice),
            "ikepolicy_id": id_of("ikepolicies", project, value.ikepolicy),
            "ipsecpolicy_id": id_of("ipsecpolicies", project, value.ipsecpolicy),
            "peer_cidrs": list(value.peer_cidrs),
            **groups,
        }

    def _connection_status(self, value: SiteConnection) -> str:
        """Give its own; while nobody told of it, it is down where its gateway's daemon is."""
        said = self.phases.connection(id_of("ipsec_site_connections", value.project, value.name))
        service = one(self.view, VpnService, "vpnservices", value.project, value.vpnservice)
        if said is None and service is not None:
            daemon = self.phases.gateway(gateway_id(value.project, "routers", service.router))
            return "DOWN" if daemon == "down" else PENDING_CREATE
        return status(said)

    def _service(self, value: VpnService) -> Body:
        project = value.project
        router = one(self.view, Router, "routers", project, value.router)
        first: dict[int, str] = {}
        if router is not None and router.gateway is not None:
            for subnet, address in outside(self.view, project, router.gateway):
                first.setdefault(subnet.version, address)
        return {
            "subnet_id": None if value.subnet is None else id_of("subnets", project, value.subnet),
            "router_id": id_of("routers", project, value.router),
            "flavor_id": flavor_of(value.driver),
            "admin_state_up": value.admin_state_up,
            "external_v4_ip": first.get(4),
            "external_v6_ip": first.get(6),
            "status": self._service_status(value),
        }

    def _service_status(self, value: VpnService) -> str:
        """Give its daemon's: one without connections is waited for as long as it has none."""
        ref = ("vpnservices", value.project, value.name)
        said = self.phases.gateway(gateway_id(value.project, "routers", value.router))
        if said is None or not self.view.meaning(ref):
            return PENDING_CREATE
        return "ACTIVE" if said == "running" else "DOWN"

    def _group(self, value: EndpointGroup) -> Body:
        endpoints = list(value.endpoints)
        if value.type == "subnet":
            endpoints = [id_of("subnets", value.project, name) for name in endpoints]
        return {"type": value.type, "endpoints": endpoints}

    def _network(self, value: Network) -> Body:
        users = self.view.meaning(("networks", value.project, value.name))
        return {
            "subnets": sorted(id_of(*ref) for ref in users if ref[0] == "subnets"),
            "status": "ACTIVE",
            "admin_state_up": True,
            "shared": False,
            "router:external": value.external,
            "provider:network_type": "flat" if value.bridge else "local",
            "provider:physical_network": value.bridge,
            "provider:segmentation_id": None,
            "mtu": value.mtu,
            "port_security_enabled": False,
            "availability_zone_hints": [],
            "availability_zones": [],
            "is_default": False,
        }

    def _subnet(self, value: Subnet) -> Body:
        return {
            "network_id": id_of("networks", value.project, value.network),
            "ip_version": value.version,
            "cidr": value.cidr,
            "gateway_ip": value.gateway_ip,
            "allocation_pools": [{"start": pool.start, "end": pool.end} for pool in pools(value)],
            "enable_dhcp": False,
            "dns_nameservers": [],
            "host_routes": [],
            "ipv6_ra_mode": None,
            "ipv6_address_mode": None,
            "subnetpool_id": None,
            "service_types": [],
        }

    def _router(self, value: Router) -> Body:
        return {
            "status": "ACTIVE",
            "admin_state_up": value.enabled,
            "external_gateway_info": None
            if value.gateway is None
            else gateway_info(self.view, value.project, value.gateway),
            "routes": [],
            "ha": False,
            "distributed": False,
            "availability_zone_hints": [],
            "availability_zones": [],
            "flavor_id": None,
        }


_GROUPS: Final = "endpoint_groups"
PENDING_CREATE: Final = "PENDING_CREATE"


def status(phase: str | None) -> str:
    """Give Neutron's word for a connection's phase; None: nobody said anything of it yet."""
    if phase is None:
        return PENDING_CREATE
    return "ACTIVE" if phase == "active" else "DOWN"


def gateway_info(view: Seen, project: str, gateway: ExternalGateway) -> Body:
    """Give where a router leaves for the world."""
    network = network_of(view, project, gateway.network) or ("networks", project, gateway.network)
    return {
        "network_id": id_of(*network),
        "enable_snat": gateway.snat,
        "external_fixed_ips": [
            {"subnet_id": id_of("subnets", network[1], fixed.subnet), "ip_address": fixed.address}
            for fixed in gateway.addresses
        ],
    }


def ports(view: Seen, routers: Iterable[Ref]) -> Iterator[Body]:
    """Give the ports of routers: one to the world, and one for each subnet on the inside."""
    for ref in routers:
        router = view.declared(ref)
        if not isinstance(router, Router):
            continue
        if router.gateway is not None:
            info = gateway_info(view, router.project, router.gateway)
            yield _port(router, "network:router_gateway", info["network_id"], info["external_fixed_ips"])
        for fixed in router.interfaces:
            subnet = one(view, Subnet, "subnets", router.project, fixed.subnet)
            network = "" if subnet is None else id_of("networks", router.project, subnet.network)
            place = {"subnet_id": id_of("subnets", router.project, fixed.subnet), "ip_address": fixed.address}
            yield _port(router, "network:router_interface", network, [place])


def port_id(router: str, place: str) -> str:
    """Give the id of a router's port: ``place`` is its subnet's id, or what it is for."""
    return str(uuid.uuid5(_PORTS, f"{router}/{place}"))


def _port(router: Router, owner: str, network: str, fixed: list[Body]) -> Body:
    device = id_of("routers", router.project, router.name)
    inner = owner.endswith("interface")
    identity = port_id(device, fixed[0]["subnet_id"] if inner else owner)
    plain = identity.replace("-", "")
    return {
        "id": identity,
        "tenant_id": router.project if inner else "",
        "project_id": router.project if inner else "",
        "name": "",
        "description": "",
        "network_id": network,
        "device_id": device,
        "device_owner": owner,
        "fixed_ips": fixed,
        "mac_address": "fa:16:3e:" + ":".join(plain[at : at + 2] for at in (0, 2, 4)),
        "status": "ACTIVE",
        "admin_state_up": router.enabled,
        "binding:vnic_type": "normal",
        "security_groups": [],
        "allowed_address_pairs": [],
        "port_security_enabled": False,
    }
