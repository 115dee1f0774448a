"""Routers: where they leave for the world, and which subnets are on their inside."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from edgeward.api.openstack.checks import address as wrong_address
from edgeward.api.openstack.checks import mapping, uuid
from edgeward.api.openstack.faults import Fault, bad_request, invalid_attribute, invalid_operation, wrong
from edgeward.api.openstack.made import Named
from edgeward.api.openstack.shown import port_id
from edgeward.api.openstack.usecases import Seen
from edgeward.vpn.openstack import addresses, rules
from edgeward.vpn.openstack.identity import id_of
from edgeward.vpn.openstack.networks import MOST_PLACES, Fixed, Network, Router, Subnet
from edgeward.vpn.openstack.view import Ref, network_of, one


def gateway(view: Seen, project: str, info: Mapping[str, Any], router: Router | None, named: Named) -> Any:
    """Give the gateway that ``external_gateway_info`` asks for, its addresses taken from the network's pools;
    None where it is to have none. Raises Fault.
    """
    if not info:
        return None
    if (reason := uuid(info.get("network_id"))) is not None:
        raise invalid_attribute("external_gateway_info", reason)
    name = named("networks", info["network_id"])
    network = network_of(view, project, name)
    found = view.declared(network) if network is not None else None
    if network is None or not isinstance(found, Network):
        raise wrong(rules.missing("networks", info["network_id"]))
    if not found.external:
        message = f"Bad router request: Network {info['network_id']} is not an external network."
        raise Fault(400, "BadRequest", message)
    before = router.gateway if router is not None else None
    said = info.get("external_fixed_ips") or []
    if not isinstance(said, list):
        raise invalid_attribute("external_gateway_info", f"'{said}' is not a list")
    if len(said) > MOST_PLACES:  # each takes a look at all that are taken
        raise invalid_operation("Exceeded maximum amount of fixed ips per port.")
    if before is not None and before.network == name and not said:
        places = [fixed.model_dump() for fixed in before.addresses]
    else:
        places = _places(view, network, said, named)
    return {"network": name, "addresses": places, "snat": bool(info.get("enable_snat", True))}


def _places(view: Seen, network: Ref, said: Any, named: Named) -> list[dict[str, str]]:
    """Give an address of each family, or what was asked for."""
    subnets = _subnets(view, network)
    if said:
        return [_asked(view, network, subnets, one_said, named) for one_said in said]
    places: dict[int, dict[str, str]] = {}
    for subnet in subnets:
        if subnet.version in places:
            continue
        address = addresses.free(subnet, addresses.taken(view, network, subnet.name))
        if address is not None:
            places[subnet.version] = {"subnet": subnet.name, "address": address}
    if subnets and not places:
        message = f"No more IP addresses available on network {id_of(*network)}."
        raise Fault(409, "IpAddressGenerationFailure", message)
    return [places[version] for version in sorted(places)]


def _asked(view: Seen, network: Ref, subnets: Sequence[Subnet], said: Any, named: Named) -> dict[str, str]:
    if (reason := mapping(said)) is not None:
        raise invalid_attribute("external_gateway_info", reason)
    given, text = said.get("subnet_id") or None, said.get("ip_address")
    for reason in (given and uuid(given), None if text is None else wrong_address(text)):
        if reason is not None:
            raise invalid_attribute("external_gateway_info", reason)
    name = None if given is None else named("subnets", given)
    for subnet in subnets:
        if name not in (None, subnet.name):
            continue
        taken = addresses.taken(view, network, subnet.name)
        if text is None:
            address = addresses.free(subnet, taken)
            if address is not None:
                return {"subnet": subnet.name, "address": address}
        elif _in(text, subnet):
            if str(ipaddress.ip_address(text)) in taken:
                where = f"network {id_of(*network)}"
                message = f"Unable to complete operation for {where}. The IP address {text} is in use."
                raise Fault(409, "IpAddressInUse", message)
            return {"subnet": subnet.name, "address": text}
    if text is None:
        message = f"No more IP addresses available on network {id_of(*network)}."
        raise Fault(409, "IpAddressGenerationFailure", message)
    raise bad_request(f"IP address {text} is not a valid IP for any of the subnets on the specified network.")


def _in(text: Any, subnet: Subnet) -> bool:
    try:
        return ipaddress.ip_address(text) in ipaddress.ip_network(subnet.cidr)
    except ValueError:
        return False


def _subnets(view: Seen, network: Ref) -> list[Subnet]:
    refs = [ref for ref in view.meaning(network) if ref[0] == "subnets"]
    return [subnet for ref in refs if (subnet := one(view, Subnet, *ref)) is not None]


def added(view: Seen, router: Router, asked: Any, named: Named) -> tuple[list[dict[str, str]], Ref]:
    """Give a router's interfaces with one more, and the subnet of that; raises Fault."""
    subnet = _subnet(view, router, asked, named)
    identity = id_of("subnets", router.project, subnet.name)
    if router.interface(subnet.name) is not None:
        raise _bad(f"Router already has a port on subnet {identity}")
    if subnet.gateway_ip is None:
        raise _bad("Subnet for router interface must have a gateway IP")
    address = subnet.gateway_ip
    network = ("networks", router.project, subnet.network)
    if address in addresses.taken(view, network, subnet.name):
        free = addresses.free(subnet, addresses.taken(view, network, subnet.name))
        if free is None:
            raise _bad(f"no address is left on subnet {identity}")
        address = free
    present = [fixed.model_dump() for fixed in router.interfaces]
    return [*present, {"subnet": subnet.name, "address": address}], ("subnets", router.project, subnet.name)


def removed(
    view: Seen, ref: Ref, router: Router, asked: Any, named: Named
) -> tuple[list[dict[str, str]], Ref]:
    """Give a router's interfaces without one, and the subnet of that; raises Fault."""
    if isinstance(asked, Mapping) and "port_id" in asked and "subnet_id" not in asked:
        fixed = _of_port(router, asked["port_id"])
        if fixed is None:
            message = f"Router {id_of(*ref)} does not have an interface with id {asked['port_id']}"
            raise Fault(404, "RouterInterfaceNotFound", message)
        name = fixed.subnet
    else:
        name = _subnet(view, router, asked, named).name
    if router.interface(name) is None:
        subnet = id_of("subnets", router.project, name)
        message = f"Router {id_of(*ref)} has no interface on subnet {subnet}"
        raise Fault(404, "RouterInterfaceNotFoundForSubnet", message)
    kept = [fixed.model_dump() for fixed in router.interfaces if fixed.subnet != name]
    return kept, ("subnets", router.project, name)


def answer(view: Seen, ref: Ref, subnet: Ref) -> dict[str, Any]:
    """Give what clients hear of an interface that was added or removed."""
    found = one(view, Subnet, *subnet)
    router, identity = id_of(*ref), id_of(*subnet)
    return {
        "id": router,
        "tenant_id": ref[1],
        "project_id": ref[1],
        "port_id": port_id(router, identity),
        "network_id": "" if found is None else id_of("networks", subnet[1], found.network),
        "subnet_id": identity,
        "subnet_ids": [identity],
    }


def _of_port(router: Router, port: Any) -> Fixed | None:
    device = id_of("routers", router.project, router.name)
    return next(
        (
            fixed
            for fixed in router.interfaces
            if port_id(device, id_of("subnets", router.project, fixed.subnet)) == port
        ),
        None,
    )


def _subnet(view: Seen, router: Router, asked: Any, named: Named) -> Subnet:
    if not isinstance(asked, Mapping) or "subnet_id" not in asked:
        raise _bad("Either subnet_id or port_id must be specified")
    if (reason := uuid(asked["subnet_id"])) is not None:
        raise invalid_attribute("subnet_id", reason)
    found = one(view, Subnet, "subnets", router.project, named("subnets", asked["subnet_id"]))
    if found is None:
        raise wrong(rules.missing("subnets", asked["subnet_id"]))
    return found


def _bad(message: str) -> Fault:
    return Fault(400, "BadRequest", f"Bad router request: {message}.")
