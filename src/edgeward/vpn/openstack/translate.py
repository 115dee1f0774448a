"""What OpenStack's objects mean for nodes: one gateway for each router with services, as plain values."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from edgeward.errors import Invalid
from edgeward.parsing import Value, problems_of
from edgeward.secret import Secret
from edgeward.vpn import desired, naming
from edgeward.vpn.openstack import rules
from edgeward.vpn.openstack.identity import id_of, label_of
from edgeward.vpn.openstack.networks import Network, Router, Subnet
from edgeward.vpn.openstack.policies import IkePolicy, IpsecPolicy
from edgeward.vpn.openstack.services import SiteConnection, VpnService
from edgeward.vpn.openstack.view import Objects, Ref, View, network_of, one, outside, references
from edgeward.vpn.translate import Drawn, Reveal

_AEAD: Final = ("-ccm-", "-gcm-")
_DEFAULT_DRIVER: Final[desired.DriverName] = "strongswan"


def grouped(values: Iterable[Value]) -> Mapping[naming.Router, Sequence[Value]]:
    """Give the objects that each gateway is made of: a router with services that reaches the world."""
    view = Objects(values)
    found = {}
    for router in view.of(Router):
        if router.gateway is not None and _services(view, router.project, router.name):
            members = [view[ref] for ref in _members(view, router)]
            found[naming.Router(router.project, "routers", router.name)] = members
    return found


def drawn(router: naming.Router, members: Sequence[Value], reveal: Reveal) -> Drawn:
    """Give the gateway of a router; raises Invalid where a secret does not open, or no node takes it."""
    try:
        return _drawn(router, members, reveal)
    except ValidationError as error:
        raise Invalid(*problems_of(error)) from error


def _drawn(router: naming.Router, members: Sequence[Value], reveal: Reveal) -> Drawn:
    view = Objects(members)
    found = one(view, Router, "routers", router.project, router.name)
    assert found is not None
    assert found.gateway is not None
    services = _services(view, found.project, found.name)
    gateway = desired.Gateway(
        id=router.id,
        name=f"{found.project}/{label_of(found) or found.name}",
        driver=_driver(services) or _DEFAULT_DRIVER,
        namespace=found.namespace,
        outside=_outside(view, found.project, found),
        inside=tuple(_inside(view, found.project, found)),
        masquerade=found.gateway.snat,
        connections=tuple(_connections(view, found.project, found, services, reveal)),
    )
    return Drawn(gateway, found.nodes)


def asked(view: View, site: SiteConnection) -> tuple[desired.DriverName, desired.Connection] | None:
    """Give what a daemon is asked for, its secret left out, where somebody chose that daemon."""
    service = one(view, VpnService, "vpnservices", site.project, site.vpnservice)
    router = one(view, Router, "routers", site.project, service.router) if service is not None else None
    if router is None or router.gateway is None:
        return None
    driver = _driver(_services(view, site.project, router.name))
    if driver is None:
        return None
    made = _connection(view, site.project, router, site, lambda _: Secret("-"), enabled=True)
    return None if made is None else (driver, made)


def beside(view: View, site: SiteConnection) -> Iterator[desired.Connection]:
    """Give the other connections of its router that are to be up, their secrets left out."""
    service = one(view, VpnService, "vpnservices", site.project, site.vpnservice)
    router = one(view, Router, "routers", site.project, service.router) if service is not None else None
    if router is None or router.gateway is None:
        return
    mine = id_of("ipsec_site_connections", site.project, site.name)
    services = _services(view, site.project, router.name)
    for other in _connections(view, site.project, router, services, lambda _: Secret("-")):
        if other.id != mine and other.enabled:
            yield other


def _driver(services: Sequence[VpnService]) -> desired.DriverName | None:
    return next((service.driver for service in services if service.driver is not None), None)


def _members(view: View, router: Router) -> Iterator[Ref]:
    """Give everything a router stands on, and everything that stands on its services."""
    ref = ("routers", router.project, router.name)
    waiting = [ref]
    for service in _services(view, router.project, router.name):
        of_service = ("vpnservices", service.project, service.name)
        waiting += [of_service, *sorted(view.meaning(of_service))]
    seen: set[Ref] = set()
    while waiting:
        ref = waiting.pop()
        value = view.declared(ref)
        if value is None or ref in seen:
            continue
        seen.add(ref)
        yield ref
        waiting += [meant for _, meant in references(ref[1], value)]
        if isinstance(value, Router) and value.gateway is not None:
            waiting += list(_of_gateway(view, value))


def _of_gateway(view: View, router: Router) -> Iterator[Ref]:
    assert router.gateway is not None
    network = network_of(view, router.project, router.gateway.network)
    if network is not None:
        yield network
        yield from (("subnets", network[1], fixed.subnet) for fixed in router.gateway.addresses)


def _services(view: View, project: str, router: str) -> list[VpnService]:
    refs = sorted(ref for ref in view.meaning(("routers", project, router)) if ref[0] == "vpnservices")
    found = (one(view, VpnService, *ref) for ref in refs)
    return [service for service in found if service is not None]


def _outside(view: View, project: str, router: Router) -> desired.Outside:
    assert router.gateway is not None
    places = list(outside(view, project, router.gateway))
    ref = network_of(view, project, router.gateway.network)
    network = view.declared(ref) if ref is not None else None
    return desired.Outside(
        addresses=tuple(f"{address}/{_length(subnet)}" for subnet, address in _of_families(places)),
        next_hops=tuple(s.gateway_ip for s, _ in _of_families(places) if s.gateway_ip is not None),
        bridge=network.bridge if isinstance(network, Network) else None,
    )


def _of_families(places: list[tuple[Subnet, str]]) -> list[tuple[Subnet, str]]:
    """Give the first of each family."""
    firsts: dict[int, tuple[Subnet, str]] = {}
    for subnet, address in places:
        firsts.setdefault(subnet.version, (subnet, address))
    return list(firsts.values())


def _inside(view: View, project: str, router: Router) -> Iterator[desired.Inside]:
    for fixed in router.interfaces:
        subnet = one(view, Subnet, "subnets", project, fixed.subnet)
        if subnet is None:
            continue
        network = one(view, Network, "networks", project, subnet.network)
        bridge = network.bridge if network is not None else None
        yield desired.Inside(network=subnet.cidr, address=fixed.address, bridge=bridge)


def _connections(
    view: View, project: str, router: Router, services: list[VpnService], reveal: Reveal
) -> Iterator[desired.Connection]:
    for service in services:
        for ref in sorted(view.meaning(("vpnservices", project, service.name))):
            found = one(view, SiteConnection, *ref) if ref[0] == "ipsec_site_connections" else None
            if found is None:
                continue
            enabled = found.admin_state_up and service.admin_state_up and router.enabled
            connection = _connection(view, project, router, found, reveal, enabled=enabled)
            if connection is not None:
                yield connection


def _connection(
    view: View, project: str, router: Router, site: SiteConnection, reveal: Reveal, *, enabled: bool
) -> desired.Connection | None:
    ike = one(view, IkePolicy, "ikepolicies", project, site.ikepolicy)
    ipsec = one(view, IpsecPolicy, "ipsecpolicies", project, site.ipsecpolicy)
    local = _local_address(view, project, router, site.peer_address)
    networks = rules.local_subnets(view, project, site)
    if ike is None or ipsec is None or local is None or not networks:
        return None
    return desired.Connection(
        id=id_of("ipsec_site_connections", project, site.name),
        name=f"{project}/{label_of(site) or site.name}",
        enabled=enabled,
        initiator=site.initiator == "bi-directional",
        local_address=local,
        peer_address=site.peer_address,
        local_id=site.local_id or local,
        peer_id=site.peer_id,
        local_networks=tuple(subnet.cidr for subnet in networks),
        peer_networks=rules.peer_networks(view, project, site),
        mtu=site.mtu or 1500,
        ike=_ike(ike),
        ipsec=_ipsec(ipsec),
        dpd=desired.Dpd(**site.dpd.model_dump()),
        auth=desired.Psk(secret=Secret("") if site.psk is None else reveal(site.psk)),
    )


def _local_address(view: View, project: str, router: Router, peer: str) -> str | None:
    """Give the router's first outside address of the peer's family; of a name's, of any."""
    assert router.gateway is not None
    places = list(outside(view, project, router.gateway))
    try:
        version = ipaddress.ip_address(peer).version
    except ValueError:
        return next((address for _, address in places), None)
    return next((address for subnet, address in places if subnet.version == version), None)


def _ike(policy: IkePolicy) -> desired.Ike:
    newer = policy.ike_version == "v2"
    return desired.Ike(
        version=2 if newer else 1,
        aggressive=not newer and policy.phase1_negotiation_mode == "aggressive",
        proposals=(
            desired.Proposal(
                encryption=policy.encryption_algorithm, integrity=policy.auth_algorithm, groups=(policy.pfs,)
            ),
        ),
        lifetime=policy.lifetime.value,
    )


def _ipsec(policy: IpsecPolicy) -> desired.Ipsec:
    proposal = desired.Proposal(
        encryption=policy.encryption_algorithm, integrity=_integrity(policy), groups=(policy.pfs,)
    )
    return desired.Ipsec(
        protocol="ah" if policy.transform_protocol == "ah" else "esp",
        mode=policy.encapsulation_mode,
        proposals=(proposal,),
        lifetime=policy.lifetime.value,
    )


def _integrity(policy: IpsecPolicy) -> str | None:
    """Give what protects packets besides their encryption: nothing, where that is an AEAD."""
    aead = any(mode in policy.encryption_algorithm for mode in _AEAD)
    return None if aead and policy.transform_protocol != "ah" else policy.auth_algorithm


def _length(subnet: Subnet) -> int:
    return ipaddress.ip_network(subnet.cidr).prefixlen
