"""The resources of the API, attribute by attribute in Neutron's order, with Neutron's defaults."""

from __future__ import annotations

import re
from typing import Any, Final, get_args

from edgeward.api.openstack.attributes import Attribute, Resource
from edgeward.api.openstack.checks import (
    Check,
    address,
    at_least,
    list_of,
    mapping,
    members,
    non_negative,
    one_of,
    or_null,
    subnet,
    text,
    to_boolean,
    to_integer,
    to_list,
    to_mapping,
    uuid,
)
from edgeward.vpn.openstack import choices
from edgeward.vpn.openstack.networks import BRIDGE


def _read_only(*names: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(name, post=False, put=False) for name in names)


def _fixed(name: str, *checks: Check) -> Attribute:
    """Said once, when it is made."""
    return Attribute(name, put=False, checks=checks)


def _choice(name: str, default: str, choice: Any) -> Attribute:
    return Attribute(name, default=default, checks=(one_of(get_args(choice)),))


def _whatever(name: str, default: Any = None) -> Attribute:
    """Taken from clients that say it, and of no meaning here."""
    return Attribute(name, default=default)


FIRST: Final = object()
"""Of a subnet's gateway that nobody said: the first address."""


def _bridge(value: Any) -> str | None:
    return None if re.fullmatch(BRIDGE, value) else f"'{value}' is not the name of a bridge of the host"


def _address_or_first(value: Any) -> str | None:
    return None if value is FIRST or value is None else address(value)


_OWNED: Final = (
    *_read_only("id"),
    Attribute("tenant_id", put=False, checks=(text(),)),
    Attribute("name", default="", checks=(text(),)),
    Attribute("description", default="", checks=(text(),)),
)
_LAST: Final = (Attribute("project_id", put=False, checks=(text(),)),)
_UP: Final = Attribute("admin_state_up", default=True, convert=to_boolean)
_LIFETIME: Final = Attribute(
    "lifetime",
    default={},
    convert=to_mapping,
    checks=(members({"units": one_of(("seconds",)), "value": at_least(choices.LEAST_LIFETIME)}),),
)
_ALGORITHMS: Final = (
    _choice("auth_algorithm", "sha1", choices.Hash),
    _choice("encryption_algorithm", "aes-128", choices.Cipher),
)
_DPD: Final = members(
    {"action": one_of(get_args(choices.DpdAction)), "interval": non_negative, "timeout": non_negative}
)

VPN_SERVICE: Final = Resource(
    "vpnservice",
    "vpnservices",
    "vpn/vpnservices",
    (
        *_OWNED,
        Attribute("subnet_id", put=False, default=None, checks=(or_null(uuid),)),
        _fixed("router_id", uuid),
        _UP,
        *_read_only("external_v4_ip", "external_v6_ip", "status"),
        Attribute("flavor_id", put=False, default=None, checks=(or_null(uuid),)),
        *_LAST,
    ),
    frozenset(("id", "tenant_id", "project_id", "name", "router_id")),
)
CONNECTION: Final = Resource(
    "ipsec_site_connection",
    "ipsec_site_connections",
    "vpn/ipsec-site-connections",
    (
        *_OWNED,
        Attribute("local_id", default="", checks=(text(None),)),
        Attribute("peer_address", checks=(text(None),)),
        Attribute("peer_id", checks=(text(None),)),
        Attribute("peer_cidrs", default=None, convert=to_list, checks=(list_of(subnet),)),
        Attribute("local_ep_group_id", default=None, checks=(or_null(uuid),)),
        Attribute("peer_ep_group_id", default=None, checks=(or_null(uuid),)),
        *_read_only("route_mode"),
        Attribute("mtu", default=1500, convert=to_integer, checks=(non_negative,)),
        _choice("initiator", "bi-directional", choices.Initiator),
        *_read_only("auth_mode"),
        Attribute("psk", checks=(text(None),)),
        Attribute("dpd", default={}, convert=to_mapping, checks=(_DPD,)),
        _UP,
        *_read_only("status"),
        _fixed("vpnservice_id", uuid),
        _fixed("ikepolicy_id", uuid),
        _fixed("ipsecpolicy_id", uuid),
        *_LAST,
    ),
)
IPSEC_POLICY: Final = Resource(
    "ipsecpolicy",
    "ipsecpolicies",
    "vpn/ipsecpolicies",
    (
        *_OWNED,
        _choice("transform_protocol", "esp", choices.Protocol),
        *_ALGORITHMS,
        _choice("encapsulation_mode", "tunnel", choices.Mode),
        _LIFETIME,
        _choice("pfs", "group5", choices.Group),
        *_LAST,
    ),
)
IKE_POLICY: Final = Resource(
    "ikepolicy",
    "ikepolicies",
    "vpn/ikepolicies",
    (
        *_OWNED,
        *_ALGORITHMS,
        _choice("phase1_negotiation_mode", "main", choices.Phase1),
        _LIFETIME,
        _choice("ike_version", "v1", choices.IkeVersion),
        _choice("pfs", "group5", choices.Group),
        *_LAST,
    ),
)
ENDPOINT_GROUP: Final = Resource(
    "endpoint_group",
    "endpoint_groups",
    "vpn/endpoint-groups",
    (
        *_OWNED,
        _fixed("type", one_of(get_args(choices.EndpointType))),
        Attribute("endpoints", put=False, default=[], convert=to_list),
        *_LAST,
    ),
    frozenset(),
)
_WITH_STATUS: Final = frozenset(("id", "tenant_id", "project_id", "name", "admin_state_up", "status"))
NETWORK: Final = Resource(
    "network",
    "networks",
    "networks",
    (
        *_OWNED,
        *_read_only("subnets", "status", "created_at", "updated_at", "revision_number"),
        Attribute("mtu", default=1500, convert=to_integer, checks=(at_least(68),)),
        _UP,
        Attribute("shared", default=False, convert=to_boolean),
        Attribute("router:external", default=False, convert=to_boolean),
        Attribute("provider:physical_network", default=None, checks=(or_null(text()), or_null(_bridge))),
        _whatever("provider:network_type"),
        _whatever("provider:segmentation_id"),
        _whatever("port_security_enabled", True),
        _whatever("availability_zone_hints", []),
        _whatever("is_default", False),
        _whatever("dns_domain", ""),
        *_LAST,
    ),
    _WITH_STATUS,
)
SUBNET: Final = Resource(
    "subnet",
    "subnets",
    "subnets",
    (
        *_OWNED,
        *_read_only("created_at", "updated_at", "revision_number"),
        Attribute("ip_version", put=False, convert=to_integer, checks=(one_of((4, 6)),)),
        _fixed("network_id", uuid),
        Attribute("cidr", put=False, checks=(subnet,)),
        Attribute("gateway_ip", default=FIRST, checks=(_address_or_first,)),
        Attribute("allocation_pools", default=None, convert=to_list),
        _whatever("dns_nameservers", []),
        _whatever("host_routes", []),
        Attribute("enable_dhcp", default=True, convert=to_boolean),
        _whatever("ipv6_ra_mode"),
        _whatever("ipv6_address_mode"),
        _whatever("service_types", []),
        _whatever("dns_publish_fixed_ip", False),
        _whatever("segment_id"),
        *_LAST,
    ),
    frozenset(("id", "tenant_id", "project_id", "name", "ip_version", "network_id", "cidr", "gateway_ip")),
)
ROUTER: Final = Resource(
    "router",
    "routers",
    "routers",
    (
        *_OWNED,
        *_read_only("status", "created_at", "updated_at", "revision_number"),
        _UP,
        Attribute("external_gateway_info", default=None, checks=(or_null(mapping),)),
        _whatever("routes", []),
        _whatever("ha", False),
        _whatever("distributed", False),
        _whatever("availability_zone_hints", []),
        _whatever("flavor_id"),
        *_LAST,
    ),
    _WITH_STATUS,
)
PORT: Final = Resource(
    "port",
    "ports",
    "ports",
    _read_only(
        *("id", "tenant_id", "project_id", "name", "description", "network_id", "device_id", "device_owner"),
        *("mac_address", "status", "admin_state_up"),
    ),
)
"""Only those that routers have: nobody makes any other."""
RESOURCES: Final = {
    resource.path: resource
    for resource in (
        VPN_SERVICE,
        CONNECTION,
        IPSEC_POLICY,
        IKE_POLICY,
        ENDPOINT_GROUP,
        NETWORK,
        SUBNET,
        ROUTER,
        PORT,
    )
}
