"""What is to be made or changed, looked at before it is written: a draft, and what is wrong with it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from edgeward.api.openstack import routers
from edgeward.api.openstack.checks import subnet as wrong_network
from edgeward.api.openstack.checks import uuid as wrong_uuid
from edgeward.api.openstack.faults import Fault, invalid_operation, wrong
from edgeward.api.openstack.made import Named, Values, declared
from edgeward.api.openstack.usecases import Seen
from edgeward.parsing import parse
from edgeward.vpn.openstack import refused, rules
from edgeward.vpn.openstack.identity import Known, id_of
from edgeward.vpn.openstack.networks import Network, Router, Subnet
from edgeward.vpn.openstack.services import EndpointGroup, SiteConnection, VpnService
from edgeward.vpn.openstack.view import KINDS, Ref, network_of, one

Resolved = Callable[[str], Awaitable[str | None]]
_MODELS: Final = {kind: model for model, kind in KINDS.items()}
_UNKNOWN: Final = "unknown.invalid"
"""Stands for a peer's address that is looked at last."""


def names(view: Seen, project: str) -> Named:
    """Give what says the name of an id, as the project means it."""

    def named(kind: str, identity: str) -> str:
        found = view.identified(kind, identity)
        own = next((ref for ref in found if ref[1] == project), None)
        if own is None and kind in ("networks", "subnets"):
            own = next(iter(found), None)
        return identity if own is None else own[2]

    return named


def shown(view: Seen) -> rules.Shown:
    """Give what says how an object is called: by its id, or what was taken for one."""
    return lambda ref: id_of(*ref) if view.declared(ref) is not None else ref[2]


def fields(view: Seen, ref: Ref, values: Values, before: Known | None) -> dict[str, Any]:
    """Give the fields of a declared object that a client's values say; raises Fault."""
    kind, project, _ = ref
    named = names(view, project)
    if kind == "endpoint_groups" and before is None and (fault := _of_endpoints(view, project, values)):
        raise fault
    data = declared(kind, values, named)
    network = data.get("network")
    if kind == "subnets" and network and one(view, Network, "networks", project, network) is None:
        raise wrong(rules.missing("networks", values["network_id"]))
    if kind == "subnets" and network and _overlaps(view, project, network, data["cidr"]):
        reason = f"Requested subnet with cidr: {data['cidr']} for network: {values['network_id']}"
        raise invalid_operation(f"{reason} overlaps with another subnet.")
    if kind == "routers" and "external_gateway_info" in values:
        router = before if isinstance(before, Router) else None
        info = values["external_gateway_info"] or {}
        data["gateway"] = routers.gateway(view, project, info, router, named)
    return data


def _overlaps(view: Seen, project: str, network: str, cidr: str) -> bool:
    """Say whether a network has a subnet already that has addresses of this one."""
    whole, ref = ipaddress.ip_network(cidr, strict=False), network_of(view, project, network)
    for user in [] if ref is None else view.meaning(ref):
        other = view.declared(user)
        if isinstance(other, Subnet) and whole.overlaps(ipaddress.ip_network(other.cidr)):
            return True
    return False


def merged(before: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Give an object's fields with what is said anew; of mappings only the parts that are."""
    found = {**before, **data}
    for field in ("lifetime", "dpd"):
        if isinstance(before.get(field), Mapping) and isinstance(data.get(field), Mapping):
            found[field] = {**before[field], **data[field]}
    return found


def value(ref: Ref, data: Mapping[str, Any]) -> Known:
    """Give the value that these fields are, its secret left out; raises Invalid."""
    kind, project, name = ref
    whole = {key: item for key, item in data.items() if key != "psk"}
    if kind == "ipsec_site_connections" and not data.get("peer_address"):
        whole["peer_address"] = _UNKNOWN
    return parse(_MODELS[kind], {**whole, "name": name, "project": project})


async def looked_at(view: Seen, ref: Ref, draft: Known, values: Values, resolved: Resolved) -> dict[str, Any]:
    """Look whether a draft holds, as Neutron does; give the fields that come of it. Raises Fault."""
    project, call = ref[1], shown(view)
    found: rules.Wrong | None = None
    if isinstance(draft, VpnService):
        found = rules.of_service(view, project, draft, call)
    elif isinstance(draft, EndpointGroup):
        found = rules.of_group(view, project, draft, call)
    elif isinstance(draft, SiteConnection):
        found = rules.of_connection(view, project, draft, call, mtu="mtu" in values)
        found = found or rules.of_quota(view, project, draft) or refused.of_driver(view, draft)
    if found is not None:
        raise wrong(found)
    if not isinstance(draft, SiteConnection) or "peer_address" not in values:
        return {}
    address = await _peer(values["peer_address"], resolved)
    found = rules.of_peer(view, project, draft, address, call)
    if found is not None:
        raise wrong(found)
    return {"peer_address": address}


async def _peer(given: str, resolved: Resolved) -> str:
    """Give the peer's address: that of a name is looked up once, as Neutron does it."""
    address = None
    if given and given.isprintable() and "%" not in given:
        try:
            return str(ipaddress.ip_address(given))
        except ValueError:
            address = await resolved(given)
    if address is None:
        raise Fault(400, "VPNPeerAddressNotResolved", f"Peer address {given} cannot be resolved")
    return address


def _of_endpoints(view: Seen, project: str, values: Values) -> Fault | None:
    """Look at the endpoints of a group: some, none twice, and each of the group's type."""
    type_, endpoints = values["type"], [str(endpoint) for endpoint in values["endpoints"]]
    if not endpoints:
        message = f"No endpoints specified for endpoint group '{values['name']}'"
        return Fault(400, "MissingEndpointForEndpointGroup", message)
    twice = next((one_ for one_, times in Counter(endpoints).items() if times > 1), None)
    if twice is not None:
        return _bad_endpoint(twice, type_, "Endpoints have to be unique")
    named = names(view, project)
    for endpoint in values["endpoints"]:
        if type_ == "cidr" and wrong_network(endpoint) is not None:
            return _bad_endpoint(endpoint, type_, "Invalid CIDR")
        if type_ == "subnet" and wrong_uuid(endpoint) is not None:
            return _bad_endpoint(endpoint, type_, "Invalid UUID")
        if type_ == "subnet" and one(view, Subnet, "subnets", project, named("subnets", endpoint)) is None:
            message = f"Subnet {endpoint} in endpoint group does not exist"
            return Fault(400, "NonExistingSubnetInEndpointGroup", message)
    return None


def _bad_endpoint(endpoint: Any, type_: str, why: str) -> Fault:
    message = f"Endpoint '{endpoint}' is invalid for group type '{type_}': {why}"
    return Fault(400, "InvalidEndpointInEndpointGroup", message)
