"""Turns sites, as people declare them, into the gateways that nodes carry out; pure."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeward.errors import Invalid
from edgeward.parsing import Value
from edgeward.sealing import Sealed
from edgeward.secret import Secret
from edgeward.vpn import agreement, desired
from edgeward.vpn.naming import Router, connection_id
from edgeward.vpn.proof import LOCAL, Held
from edgeward.vpn.site import Outside, Site

Reveal = Callable[[Sealed], Secret[str]]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Drawn:
    """A gateway, and which nodes may have it; ``nodes`` None: all."""

    gateway: desired.Gateway
    nodes: Mapping[str, Sequence[str]] | None = None


def router_of(site: Site) -> Router:
    return Router(site.project, "vpn", site.gateway)


def grouped(values: Iterable[Value]) -> Mapping[Router, Sequence[Site | Held]]:
    """Give the sites of each router with the certificates they use; what is neither is passed over."""
    found: defaultdict[Router, list[Site | Held]] = defaultdict(list)
    held: dict[tuple[str, str], Held] = {}
    used: defaultdict[Router, set[tuple[str, str]]] = defaultdict(set)
    for value in values:
        if isinstance(value, Site):
            found[router_of(value)].append(value)
            if value.certificate is not None:
                used[router_of(value)].add((value.project, value.certificate.name))
        elif isinstance(value, Held):
            held[value.project, value.name] = value
    for router, names in used.items():
        found[router] += (held[name] for name in sorted(names) if name in held)
    return found


def drawn(router: Router, parts: Sequence[Site | Held], reveal: Reveal) -> Drawn:
    """Give the gateway of a router; raises Invalid where a secret does not open, or a certificate is missing.

    What is of the gateway and not of one connection is said by any of them.
    """
    sites = agreement.ordered(part for part in parts if isinstance(part, Site))
    held = {part.name: part for part in parts if isinstance(part, Held)}
    said, driver = agreement.outside_of(sites), driver_of(sites)
    gateway = desired.Gateway(
        id=router.id,
        name=str(router),
        driver=driver,
        namespace=next((site.namespace for site in sites if site.namespace is not None), None),
        outside=desired.Outside(addresses=said.address, next_hops=said.next_hop, bridge=said.bridge),
        inside=inside(sites),
        connections=tuple(connection(site, said, driver, auth(site, held, reveal)) for site in sites),
    )
    return Drawn(gateway, agreement.nodes_of(sites))


def driver_of(sites: Iterable[Site]) -> desired.DriverName:
    """Give the daemon that carries the sites of a router."""
    return next((site.driver for site in sites if site.driver is not None), "strongswan")


def auth(site: Site, held: Mapping[str, Held], reveal: Reveal) -> desired.Psk | desired.Certificate:
    """Give how a site proves itself; raises Invalid where a secret does not open, or a certificate is not
    held."""
    if site.secret is not None:
        return desired.Psk(secret=reveal(site.secret))
    proof = site.certificate
    if proof is None or (own := held.get(proof.name)) is None:
        raise Invalid(f"the site {site.name} has no valid certificate yet")
    authority = own.roots if proof.authority == LOCAL else proof.authority
    return desired.Certificate(chain=own.chain, key=own.key, authority=authority)


def connection(
    site: Site, outside: Outside, driver: desired.DriverName, auth: desired.Psk | desired.Certificate
) -> desired.Connection:
    """Give one connection of a gateway. Of a profile with a name, what Libreswan never does is left out."""
    here = local_address(site, outside)
    made = desired.Connection(
        id=connection_id(site.project, site.name),
        name=f"{site.project}/{site.name}",
        enabled=site.enabled,
        initiator=site.initiator,
        local_address=here,
        peer_address=site.peer,
        local_id=site.identity or here,
        peer_id=site.remote_id or site.peer,
        local_networks=site.local_networks,
        peer_networks=site.remote_networks,
        dns=site.dns,
        mtu=site.mtu,
        ike=site.knobs.desired_ike(),
        ipsec=site.knobs.desired_ipsec(),
        dpd=site.dpd.desired(),
        auth=auth,
    )
    named = isinstance(site.profile, str)
    return made.without_additional() if named and driver == "libreswan" else made


def local_address(site: Site, outside: Outside) -> str:
    """Give the gateway's own address that a peer is spoken to from; ``0.0.0.0`` or ``::`` where it shares the
    host's.
    """
    own = [str(ipaddress.ip_interface(text).ip) for text in outside.address]
    try:
        wanted = ipaddress.ip_address(site.peer).version
    except ValueError:  # a name
        return own[0] if own else "0.0.0.0"  # noqa: S104 - nothing is bound here
    fitting = (text for text in own if ipaddress.ip_address(text).version == wanted)
    return next(fitting, "::" if wanted == 6 else "0.0.0.0")  # noqa: S104 - nothing is bound here


def inside(sites: Sequence[Site]) -> tuple[desired.Inside, ...]:
    """Give this side's networks, with the gateway's address in each."""
    found: dict[str, desired.Inside] = {}
    for site in sites:
        for one in site.inside:
            at = one.address or _first(one.network)
            if at is not None:
                found[one.network] = desired.Inside(network=one.network, address=at, bridge=one.bridge)
    there = {network for site in sites for network in site.remote_networks}
    taken = _meeting(ipaddress.ip_network(network) for network in (*found, *there))
    for network in dict.fromkeys(network for site in sites for network in site.local_networks):
        at = _first(network)
        if at is not None and not taken(ipaddress.ip_network(network)):
            found[network] = desired.Inside(network=network, address=at)
    return tuple(found[network] for network in sorted(found))


def _meeting(networks: Iterable[_Network]) -> Callable[[_Network], bool]:
    """Give what tells whether a network overlaps one of these, however many they are."""
    all_of_them = list(networks)
    apart = {
        version: list(ipaddress.collapse_addresses(n for n in all_of_them if n.version == version))  # type: ignore[type-var] # of one family
        for version in (4, 6)
    }

    def meets(one: _Network) -> bool:
        known = apart[one.version]
        before = bisect_right(known, int(one[-1]), key=lambda other: int(other[0]))
        return before > 0 and int(known[before - 1][-1]) >= int(one[0])

    return meets


def _first(network: str) -> str | None:
    """Give the first address of a network that a host may have; none of one that stands for everything."""
    found = ipaddress.ip_network(network)
    if found.prefixlen == 0:
        return None
    return str(found[0] if found.num_addresses <= 2 else found[1])
