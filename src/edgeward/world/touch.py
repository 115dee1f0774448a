"""Which objects a change of another may matter for: what is checked again, and nothing else."""

from __future__ import annotations

from edgeward.certificates.model import Domain, Issuer
from edgeward.declaration.model import Key
from edgeward.domain_name import CATCH_ALL
from edgeward.gateway.model import Listen, Route, Service
from edgeward.parsing import Value
from edgeward.vpn.openstack import holding
from edgeward.vpn.openstack import identity as openstack
from edgeward.vpn.site import Site
from edgeward.world.checks import DEFAULT_PORTS, LISTEN, SITES
from edgeward.world.objects import World, over


def touched_by(world: World, key: Key, *values: Value | None) -> set[Key]:
    """Give the other objects for which a change of ``key`` may matter; ``values``: before and after."""
    touched: set[Key] = set(world.behind[key.project, key.name]) if key.kind in SITES else set()
    if key.kind in openstack.KINDS:
        touched.update(Key(*ref) for ref in holding.touched(world, key))
    for value in values:
        if isinstance(value, Domain):
            touched |= _by_domain(world, value)
        elif isinstance(value, Route):
            touched.add(LISTEN)  # it may pass through the default domain
        elif isinstance(value, Service):
            touched |= set(world.users[key.project, key.name])
        elif isinstance(value, Listen):  # without it the default holds, whose ports others may have by now
            touched.update(other for port in DEFAULT_PORTS for other in world.ports[port])
        elif isinstance(value, Issuer):
            touched |= set(world.issued[key.project, key.name])
        elif isinstance(value, Site):
            touched |= _by_site(world, value)
    return touched - {key}


def _by_domain(world: World, domain: Domain) -> set[Key]:
    touched = {LISTEN}
    if domain.name == CATCH_ALL:
        touched.update(k for k, _ in world.items() if k.kind in ("listen", "routes", "withheld"))
    for name in domain.names:
        touched.update(world.domains[name], world.below[name])
        touched.update(world.hosted[name], world.domains[over(name)], world.proven[name])
    return touched


def _by_site(world: World, site: Site) -> set[Key]:
    """Give the sites that a site may stand in the way of."""
    touched = set(world.sites[site.project, site.gateway])
    for other in world.together((site.project, site.gateway)):
        touched.update(world.peers[other.peer])
    return touched | set(world.peers[site.peer])
