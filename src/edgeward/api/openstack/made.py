"""What a client's values mean as something declared: names instead of ids, and only what was said."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from edgeward.api.openstack.checks import address as wrong_address
from edgeward.api.openstack.discovery import driver_of
from edgeward.api.openstack.faults import bad_request, invalid_attribute
from edgeward.api.openstack.resources import FIRST
from edgeward.vpn.openstack.addresses import first

Values = Mapping[str, Any]
Named = Callable[[str, str], str]
"""Gives the name of an object of a kind by its id; of one that is not there, the id."""
_REFERENCES: Final = {
    "router_id": ("router", "routers"),
    "subnet_id": ("subnet", "subnets"),
    "network_id": ("network", "networks"),
    "vpnservice_id": ("vpnservice", "vpnservices"),
    "ikepolicy_id": ("ikepolicy", "ikepolicies"),
    "ipsecpolicy_id": ("ipsecpolicy", "ipsecpolicies"),
    "local_ep_group_id": ("local_ep_group", "endpoint_groups"),
    "peer_ep_group_id": ("peer_ep_group", "endpoint_groups"),
}
_SAME: Final = {
    "vpnservices": ("description", "admin_state_up"),
    "ipsec_site_connections": (
        "description",
        "local_id",
        "peer_address",
        "peer_id",
        "peer_cidrs",
        "mtu",
        "initiator",
        "admin_state_up",
    ),
    "ikepolicies": (
        "description",
        "auth_algorithm",
        "encryption_algorithm",
        "phase1_negotiation_mode",
        "ike_version",
        "pfs",
    ),
    "ipsecpolicies": (
        "description",
        "auth_algorithm",
        "encryption_algorithm",
        "transform_protocol",
        "encapsulation_mode",
        "pfs",
    ),
    "endpoint_groups": ("description", "type"),
    "networks": ("description", "mtu"),
    "subnets": ("description", "cidr"),
    "routers": ("description",),
}


def declared(kind: str, values: Values, named: Named) -> dict[str, Any]:
    """Give the fields of a declared object that a client's values say; raises Fault."""
    data: dict[str, Any] = {name: values[name] for name in _SAME[kind] if name in values}
    if "name" in values:
        data["label"] = values["name"]
    for attribute, (field, of) in _REFERENCES.items():
        if attribute in values:
            given = values[attribute]
            data[field] = None if given is None else named(of, given)
    data.update(_special(kind, values, named))
    return data


def _special(kind: str, values: Values, named: Named) -> Iterator[tuple[str, Any]]:
    if kind in ("ikepolicies", "ipsecpolicies") and values.get("lifetime"):
        given = values["lifetime"]
        yield "lifetime", {key: int(value) if key == "value" else value for key, value in given.items()}
    elif kind == "vpnservices" and "flavor_id" in values:
        yield "driver", driver_of(values["flavor_id"])
    elif kind == "endpoint_groups" and "endpoints" in values:
        given = [str(endpoint) for endpoint in values["endpoints"]]
        subnets = values.get("type") == "subnet"
        yield "endpoints", [named("subnets", one) for one in given] if subnets else given
    elif kind == "ipsec_site_connections":
        if "psk" in values:
            yield "psk", values["psk"] or None  # the empty one is none
        if values.get("dpd"):
            yield "dpd", {k: v if k == "action" else int(v) for k, v in values["dpd"].items()}
    elif kind == "networks":
        yield from _of_network(values)
    elif kind == "subnets":
        yield from _of_subnet(values)
    elif kind == "routers" and "admin_state_up" in values:
        yield "enabled", values["admin_state_up"]


def _of_network(values: Values) -> Iterator[tuple[str, Any]]:
    if "router:external" in values:
        yield "external", values["router:external"]
    if "provider:physical_network" in values:
        yield "bridge", values["provider:physical_network"]


def _of_subnet(values: Values) -> Iterator[tuple[str, Any]]:
    if "cidr" in values:
        network = ipaddress.ip_network(values["cidr"], strict=False)
        if network.version != values["ip_version"]:
            reason = f"subnet's IP version {values['ip_version']} does not match {values['cidr']}"
            raise bad_request(f"Invalid input for operation: {reason}.")
    if "gateway_ip" in values:
        given = values["gateway_ip"]
        yield "gateway_ip", first(str(network)) if given is FIRST else given
    if values.get("allocation_pools"):
        yield "pools", [_pool(pool) for pool in values["allocation_pools"]]


def _pool(pool: Any) -> dict[str, Any]:
    if not isinstance(pool, Mapping) or set(pool) != {"start", "end"}:
        raise invalid_attribute("allocation_pools", f"Invalid data format for IP pool: '{pool}'")
    for end in pool.values():
        if (reason := wrong_address(end)) is not None:
            raise invalid_attribute("allocation_pools", reason)
    return dict(pool)
