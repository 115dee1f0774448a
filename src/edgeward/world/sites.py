"""What does not hold of a site: with the others of its router, and with those that share its address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgeward.declaration.model import Key
from edgeward.errors import Problem
from edgeward.vpn import agreement
from edgeward.vpn.site import Site
from edgeward.world.objects import Router, World

_MOST_OF_PEER: Final = 100


def of_site(world: World, key: Key, site: Site) -> Iterator[Problem]:
    router = (site.project, site.gateway)
    found = list(world.disagreeing(router).get(site.name, ()))
    if (proof := site.certificate) is not None and not world.covered(proof.name, site.project):
        found.append(("certificate.name", f"no domain of this project covers '{proof.name}'; declare it"))
    if len(world.peers[site.peer]) > 1:
        found += _at_shared_address(world, site, router)
    for field, message in found:
        yield Problem(field, message, object=str(key))


def _at_shared_address(world: World, site: Site, router: Router) -> list[agreement.Problem]:
    beside = world.together(router)
    if not agreement.shares_address(beside):
        return []
    routers = {(k.project, world.site(k).gateway) for k in world.peers[site.peer]} - {router}
    if len(routers) > _MOST_OF_PEER:
        message = f"over {_MOST_OF_PEER} routers that may share an address have the peer {site.peer}"
        return [("peer", f"{message}; give this one outside.address")]
    return list(agreement.of_shared_address(site, beside, map(world.together, sorted(routers))))
