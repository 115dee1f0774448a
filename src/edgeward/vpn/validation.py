"""All that is known of the sites of a router before anything is tried: between them, and of their driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from edgeward.secret import Secret
from edgeward.vpn import agreement
from edgeward.vpn.agreement import Problem
from edgeward.vpn.desired import MOST_INSIDE, Certificate, Connection, Psk
from edgeward.vpn.drivers.libreswan.refusals import refusals as libreswan
from edgeward.vpn.drivers.strongswan.refusals import refusals as strongswan
from edgeward.vpn.site import Site
from edgeward.vpn.translate import connection, driver_of, inside

Refusals = Callable[[Connection], Sequence[Problem]]
REFUSALS: Final[Mapping[str, Refusals]] = {
    "strongswan": strongswan,
    "libreswan": libreswan,
    "memory": lambda _connection: (),
}
_FIELDS: Final = {"peer_id": "remote_id", "peer_address": "peer", "peer_networks": "remote_networks"}


def of_router(sites: Iterable[Site]) -> dict[str, list[Problem]]:
    """Give what does not hold for the sites of one router, by their names."""
    sites = agreement.ordered(sites)
    found = agreement.of_router(sites)
    outside, driver = agreement.outside_of(sites), driver_of(sites)
    for site in sites:
        if not found[site.name]:  # what is not sound in itself has no connection yet
            made = connection(site, outside, driver, _proof(site))
            found[site.name] = list(_in_words(site, REFUSALS[driver](made)))
    for site in _beyond_inside(sites):
        message = (
            f"its router would have over {MOST_INSIDE} networks here; say larger ones, or another router"
        )
        found[site.name].append(("local_networks", message))
    if driver == "libreswan":
        for site, problem in _told_apart([site for site in sites if site.enabled]):
            found[site.name].append(problem)
    return found


def _beyond_inside(sites: Sequence[Site]) -> Iterator[Site]:
    """Give the sites by which a namespace of our own is to be in more networks than it can be."""
    here = {site.name: {*site.local_networks, *(one.network for one in site.inside)} for site in sites}
    if len(set().union(*here.values())) <= MOST_INSIDE or any(site.namespace for site in sites):
        return
    all_of_them = {one.network for one in inside(sites)}
    seen: set[str] = set()
    for site in sites:
        fresh = (here[site.name] & all_of_them) - seen
        seen |= fresh
        if fresh and len(seen) > MOST_INSIDE:
            yield site


def _told_apart(sites: Sequence[Site]) -> Iterator[tuple[Site, Problem]]:
    """Find sites between the same peers whose offers for ESP pluto would hold against each other."""
    first: dict[tuple[str | None, ...], Site] = {}
    for site in sites:
        known = first.setdefault((site.peer, site.identity, site.remote_id or site.peer), site)
        if known.knobs.ipsec != site.knobs.ipsec:
            message = (
                f"the site '{known.name}' has the same router, peer and ids, and Libreswan takes one's"
                " offers for ESP for the other's; let them be equal, or give other ids"
            )
            yield site, ("profile", message)


def _proof(site: Site) -> Psk | Certificate:
    """Give one of its kind, which nobody looks into."""
    if site.certificate is None:
        return Psk(secret=Secret("-"))
    return Certificate(chain="", key=Secret("-"), authority="")


def _in_words(site: Site, refused: Iterable[Problem]) -> Iterator[Problem]:
    for field, message in refused:
        top, _, _ = field.partition(".")
        if top in ("ike", "ipsec"):
            yield "profile" if isinstance(site.profile, str) else f"profile.{field}", message
        else:
            yield _FIELDS.get(field, field), message
