"""What must hold for each of OpenStack's objects, as sentences about its fields; whom a change may touch."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from edgeward.parsing import Value
from edgeward.vpn.desired import MOST_INSIDE
from edgeward.vpn.openstack import refused, rules
from edgeward.vpn.openstack.identity import id_of
from edgeward.vpn.openstack.networks import Fixed, Network, Router, Subnet
from edgeward.vpn.openstack.rules import Wrong
from edgeward.vpn.openstack.services import EndpointGroup, SiteConnection, VpnService
from edgeward.vpn.openstack.view import Ref, View, is_external, network_of, one, references

_EXTERNAL = "external"


def places(ref: Ref, value: Value) -> Iterator[Ref]:
    """Give under what an object is found again: its kind, its id, and whom it means."""
    kind, project, name = ref
    yield kind, "", ""
    yield by_id(kind, id_of(kind, project, name))
    if isinstance(value, Network) and value.external:
        yield _EXTERNAL, "", name
    for _, meant in references(project, value):
        yield _by_meaning(meant)
    if isinstance(value, Router) and value.gateway is not None:
        yield _by_meaning((_EXTERNAL, "", value.gateway.network))


def by_id(kind: str, identity: str) -> Ref:
    """Give where objects of an id are found."""
    return "id", kind, identity


def externals(name: str) -> Ref:
    """Give where external networks of a name are found."""
    return _EXTERNAL, "", name


def meanings(ref: Ref) -> Iterator[Ref]:
    """Give where those are found that mean an object."""
    yield _by_meaning(ref)
    if ref[0] == "networks":
        yield _by_meaning((_EXTERNAL, "", ref[2]))


def _by_meaning(ref: Ref) -> Ref:
    kind, project, name = ref
    return f"means {kind}", project, name


def touched(view: View, ref: Ref) -> set[Ref]:
    """Give everything that means an object, or means what means it."""
    found: set[Ref] = set()
    fresh = {ref}
    while fresh:
        fresh = {user for one_ref in fresh for user in view.meaning(one_ref)} - found
        found |= fresh
    return found


def problems(view: View, ref: Ref, value: Value) -> Iterator[tuple[str, str]]:
    """Give (field, sentence) for what does not hold."""
    project = ref[1]
    absent = [(field, meant) for field, meant in references(project, value) if not _there(view, meant)]
    for field, (kind, _, name) in absent:
        yield field, f"there is no '{name}' among the {kind} of project {project}; declare it first"
    if absent:
        return
    if isinstance(value, Router):
        yield from _of_router(view, ref, value)
    wrong = _wrong(view, project, value)
    if wrong is not None:
        plain = wrong.message[1:2].islower()
        yield wrong.field, wrong.message[:1].lower() + wrong.message[1:] if plain else wrong.message


def _there(view: View, meant: Ref) -> bool:
    kind, project, name = meant
    return view.declared(meant) is not None or (
        kind == "networks" and network_of(view, project, name) is not None
    )


def _wrong(view: View, project: str, value: Value) -> Wrong | None:
    def shown(ref: Ref) -> str:
        return f"'{ref[2]}'"

    if isinstance(value, VpnService):
        return rules.of_service(view, project, value, shown)
    if isinstance(value, EndpointGroup):
        return rules.of_group(view, project, value, shown)
    if not isinstance(value, SiteConnection):
        return None
    wrong = rules.of_connection(view, project, value, shown) or rules.of_quota(view, project, value)
    wrong = wrong or refused.of_driver(view, value)
    try:
        address = str(ipaddress.ip_address(value.peer_address))
    except ValueError:
        return wrong  # a name may lead to any family
    return wrong or rules.of_peer(view, project, value, address, shown)


def _of_router(view: View, ref: Ref, router: Router) -> Iterator[tuple[str, str]]:
    project = ref[1]
    if router.namespace is None and len(router.interfaces) > MOST_INSIDE:
        yield "interfaces", f"a router has at most {MOST_INSIDE}; give some of the subnets another router"
    if router.gateway is not None:
        network = network_of(view, project, router.gateway.network)
        if network is None or not is_external(view, network):
            yield "gateway.network", f"'{router.gateway.network}' is not external; say external: true there"
            return
        for index, fixed in enumerate(router.gateway.addresses):
            subnet = one(view, Subnet, "subnets", network[1], fixed.subnet)
            where = f"gateway.addresses[{index}]"
            if subnet is None or subnet.network != router.gateway.network:
                yield f"{where}.subnet", f"'{fixed.subnet}' is no subnet of '{router.gateway.network}'"
            elif ipaddress.ip_address(fixed.address) not in ipaddress.ip_network(subnet.cidr):
                yield f"{where}.address", f"{fixed.address} is not in {subnet.cidr}"
            elif (other := _holder(view, network, ref, fixed)) is not None:
                yield f"{where}.address", f"the router '{other[2]}' has {fixed.address} already"
    for index, fixed in enumerate(router.interfaces):
        subnet = one(view, Subnet, "subnets", project, fixed.subnet)
        if subnet is None:
            continue
        if ipaddress.ip_address(fixed.address) not in ipaddress.ip_network(subnet.cidr):
            yield f"interfaces[{index}].address", f"{fixed.address} is not in {subnet.cidr}"


def _holder(view: View, network: Ref, ref: Ref, fixed: Fixed) -> Ref | None:
    """Give another router that has an address on the outside."""
    for other in view.meaning(network):
        router = view.declared(other)
        gateway = router.gateway if isinstance(router, Router) else None
        if other != ref and gateway is not None and fixed in gateway.addresses:
            return other
    return None
