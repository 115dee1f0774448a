"""What must hold between the sites of one gateway, and between gateways that share an address: pure.

It finds what would not come up before it is tried. Problems are pairs of a field and a sentence; of two
sites that do not go together the later one by name has it.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgeward.placement import disjoint
from edgeward.vpn.desired import MOST_CONNECTIONS
from edgeward.vpn.site import Outside, Site

Problem = tuple[str, str]
_OF_ROUTER: Final = ("driver", "outside", "namespace", "nodes")
_LEAST_IPV6: Final = 1280
_MOST_PAIRS: Final = 2_000_000
_TOO_MANY: Final = "too many networks of this router's sites overlap; give some of them another router"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def of_router(sites: Iterable[Site]) -> dict[str, list[Problem]]:
    """Give what does not hold for the sites of one router, by their names."""
    sites = ordered(sites)
    outside = outside_of(sites)
    found: defaultdict[str, list[Problem]] = defaultdict(list)
    for site in sites:
        found[site.name] += [*_alone(site), *_reached(site, outside)]
    for site in sites[MOST_CONNECTIONS:]:
        message = f"router '{site.gateway}' has over {MOST_CONNECTIONS:,} sites; give some another one"
        found[site.name].append(("router", message))
    enabled = [site for site in sites if site.enabled]
    for site, problem in (*_said_otherwise(sites), *_same_networks(enabled), *_same_ids(enabled)):
        found[site.name].append(problem)
    return dict(found)


def of_shared_address(
    site: Site, beside: Sequence[Site], elsewhere: Iterable[Sequence[Site]]
) -> Iterator[Problem]:
    """Find another gateway that shares the host's address and has this site's peer: packets could be for
    either. ``beside`` are all sites of its router, ``elsewhere`` those of each other router.
    """
    if not site.enabled or not shares_address(beside):
        return
    for sites in elsewhere:
        known = [other for other in sites if other.peer == site.peer and other.enabled]
        if not known or not shares_address(sites) or disjoint(nodes_of(beside), nodes_of(sites)):
            continue
        whose = "another project" if known[0].project != site.project else f"the site '{known[0].name}'"
        yield (
            "peer",
            f"{whose} has this peer with another router, and both share the host's address: what comes from"
            f" {site.peer} could be for either; give one of them outside.address, or both the same router",
        )
        return


def ordered(sites: Iterable[Site]) -> list[Site]:
    return sorted(sites, key=lambda site: site.name)


def outside_of(sites: Iterable[Site]) -> Outside:
    """Give how the gateway of these sites reaches its peers."""
    return next((site.outside for site in ordered(sites) if site.outside is not None), Outside())


def nodes_of(sites: Iterable[Site]) -> Mapping[str, Sequence[str]] | None:
    return next((site.nodes for site in ordered(sites) if site.nodes is not None), None)


def shares_address(sites: Sequence[Site]) -> bool:
    """Whether the gateway of these sites speaks to its peers from the host's own address."""
    return not outside_of(sites).address and all(site.namespace is None for site in sites)


def _address(peer: str) -> _Address | None:
    try:
        return ipaddress.ip_address(peer)
    except ValueError:
        return None


def _alone(site: Site) -> Iterator[Problem]:
    knobs = site.knobs
    both = (*site.local_networks, *site.remote_networks)
    if any(":" in network for network in both) and site.mtu < _LEAST_IPV6:
        yield "mtu", f"IPv6 needs {_LEAST_IPV6} bytes at least; raise it"
    if site.remote_id is not None and site.remote_id == site.identity:
        yield "remote_id", "both sides have the same id; each needs one of its own"
    if {":" in n for n in site.local_networks}.isdisjoint({":" in n for n in site.remote_networks}):
        yield "remote_networks", "one side has only IPv4 and the other only IPv6; give networks of one family"
    if knobs.ipsec.mode == "transport" and any(ipaddress.ip_network(n).num_addresses > 1 for n in both):
        yield (
            "profile.ipsec.mode",
            "transport joins two hosts; take tunnel, or say single addresses",
        )


def _reached(site: Site, outside: Outside) -> Iterator[Problem]:
    """Find what keeps packets from reaching the peer."""
    at = _address(site.peer)
    own = [ipaddress.ip_interface(text) for text in outside.address]
    fitting = [one for one in own if at is None or one.version == at.version]
    if not own:
        yield from _shared(site)
    elif not fitting:
        family = "IPv6" if at is not None and at.version == 6 else "IPv4"
        yield "peer", f"the gateway has no {family} address outside; add one to outside.address"
    elif any(one.ip == at for one in fitting):
        yield "peer", f"{site.peer} is this gateway's own address; give the other side's"
    elif outside.bridge is not None and not _routed(at, fitting, outside):
        yield "peer", f"nothing leads from the gateway to {site.peer}; say the router as outside.next_hop"


def _shared(site: Site) -> Iterator[Problem]:
    if site.namespace is not None:
        yield "namespace", "say which address it has outside: outside: {address: 203.0.113.5/24}"
        return
    if site.knobs.ipsec.protocol == "ah":
        yield "profile.ipsec.protocol", "AH cannot share the host's address; take esp, or say outside.address"


def _routed(at: _Address | None, fitting: Sequence[_Interface], outside: Outside) -> bool:
    if at is None:
        return bool(outside.next_hop)
    hops = (ipaddress.ip_address(hop) for hop in outside.next_hop)
    return any(hop.version == at.version for hop in hops) or any(at in one.network for one in fitting)


def _said_otherwise(sites: Sequence[Site]) -> Iterator[tuple[Site, Problem]]:
    for field in _OF_ROUTER:
        saying = [site for site in sites if getattr(site, field) is not None]
        for other in saying[1:]:
            if getattr(other, field) != getattr(saying[0], field):
                message = (
                    f"the site '{saying[0].name}' has the same router '{other.gateway}' and says another"
                    f" {field}; say it in one of them, or the same in both"
                )
                yield other, (field, message)


_OF_PEERS: Final = (
    ("secret", "secrets"),
    ("certificate", "certificates"),
    ("dpd", "dpd"),
    ("profile", "profiles for IKE"),
)


class _Span(NamedTuple):
    """A network as numbers, for an order in which those that overlap meet."""

    six: bool
    first: int
    last: int


@dataclass(frozen=True)
class _Carried:
    """What a site carries, as numbers."""

    site: Site
    here: tuple[_Span, ...]
    there: tuple[_Span, ...]


def _same_networks(sites: Sequence[Site]) -> Iterator[tuple[Site, Problem]]:
    """Find packets that two sites of one gateway would both carry; looks at so many pairs and no more."""
    carried = [_Carried(s, _spans(s.local_networks), _spans(s.remote_networks)) for s in sites]
    ends = sorted(((span, one) for one in carried for span in one.there), key=lambda end: end[0])
    told: set[str] = set()
    open_: list[tuple[_Span, _Carried]] = []
    left = _MOST_PAIRS
    for span, one in ends:
        open_ = [o for o in open_ if o[0].six == span.six and o[0].last >= span.first]
        for _, other in open_:
            early, late = (other, one) if other.site.name < one.site.name else (one, other)
            left -= len(early.here) * len(late.here)
            if left < 0:
                yield one.site, ("remote_networks", _TOO_MANY)
                return
            if early is late or late.site.name in told or not _meet(early.here, late.here):
                continue
            told.add(late.site.name)
            message = (
                f"the site '{early.site.name}' of the same router carries packets to networks of these"
                " already; give them routers of their own, or networks that do not overlap"
            )
            yield late.site, ("remote_networks", message)
        open_.append((span, one))


def _spans(networks: Sequence[str]) -> tuple[_Span, ...]:
    parsed = map(ipaddress.ip_network, networks)
    return tuple(_Span(one.version == 6, int(one[0]), int(one[-1])) for one in parsed)


def _meet(some: Sequence[_Span], others: Sequence[_Span]) -> bool:
    return any(
        one.six == other.six and one.first <= other.last and other.first <= one.last
        for one in some
        for other in others
    )


def _same_ids(sites: Sequence[Site]) -> Iterator[tuple[Site, Problem]]:
    """Find sites that a peer cannot tell apart, and that cannot be one connection with two children."""
    groups: defaultdict[tuple[str | None, ...], list[Site]] = defaultdict(list)
    for site in sites:
        groups[site.peer, site.identity, site.remote_id or site.peer].append(site)
    for first, *others in groups.values():
        for other in others:
            for field, what in _OF_PEERS:
                mine, theirs = (
                    s.knobs.ike if field == "profile" else getattr(s, field) for s in (first, other)
                )
                if mine != theirs:
                    message = (
                        f"the site '{first.name}' has the same router, peer and ids, so that both are one"
                        f" connection, and their {what} differ; let them be equal, or give other ids"
                    )
                    yield other, (field, message)


def _said(site: Site, field: str) -> object:
    return site.knobs.ike if field == "profile" else getattr(site, field)
