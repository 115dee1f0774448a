"""What does not hold for an object because of others: whom it names, where it leads, who is in the way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from edgeward import passage
from edgeward.certificates.model import UPLOADED, Domain, Withheld
from edgeward.declaration.model import DEFAULT_PROJECT, Declared, Key
from edgeward.domain_name import patterns_of
from edgeward.errors import Problem
from edgeward.gateway.model import Listen, Route, Service, TcpRoute
from edgeward.placement import disjoint, shown
from edgeward.vpn.openstack import holding
from edgeward.vpn.openstack import identity as openstack
from edgeward.vpn.site import Site
from edgeward.world.objects import Match, World, matches_of, over, selector_of
from edgeward.world.sites import of_site

MOST_OWN_CHAINS: Final = 1_000
"""Filter chains cost Envoy memory, on each address and each worker."""
BUILT_IN_ISSUERS: Final = frozenset({"local", UPLOADED})
"""Exist in every project without being declared."""
SITES: Final = ("vpn", "ipsec_site_connections")
"""Kinds of what a backend may be behind."""
DEFAULT_PORTS: Final = frozenset(passage.port_of(text) for _, text in passage.ports(Listen()))
LISTEN: Final = Key("listen", DEFAULT_PROJECT, "listen")


class Missing(Problem):
    """An object names what is not among these; it may be declared elsewhere."""


@dataclass(frozen=True)
class Conflicting:
    """A problem, and the object of another project that stands in the way."""

    problem: Problem
    other: Key


def check(objects: Iterable[Declared]) -> list[Problem]:
    """Give everything that does not hold between these objects, taken as all there are."""
    world = World()
    keys = []
    for declared in objects:
        world.put(declared.key, declared.value)
        keys.append(declared.key)
    return [p for key in keys for p in (*problems(world, key), *(c.problem for c in conflicts(world, key)))]


def problems(world: World, key: Key) -> list[Problem]:
    """Give what does not hold for this object; nothing where it is not there."""
    value = world.get(key)
    if isinstance(value, Domain):
        return list(_of_domain(world, key, value))
    if isinstance(value, Route):
        return list(_of_route(world, key, value))
    if isinstance(value, Listen):
        return list(_of_listen(world, key, value))
    if isinstance(value, TcpRoute):
        return list(_of_tcp_route(world, key, value))
    if isinstance(value, Service):
        return list(_of_service(world, key, value))
    if isinstance(value, Site):
        return list(of_site(world, key, value))
    if key.kind in openstack.KINDS and value is not None:
        found = holding.problems(world, key, value)
        return [Problem(field, message, object=str(key)) for field, message in found]
    if isinstance(value, Withheld) and not world.covered(value.name, key.project):
        message = f"no domain of project {key.project} covers '{value.name}'; declare it under domains"
        return [Problem("name", message, object=str(key))]
    return []


def conflicts(world: World, key: Key) -> list[Conflicting]:
    """Give what another project's domains leave no room for; nothing where it is not there."""
    value = world.get(key)
    return list(_rivalled(world, key, value)) if isinstance(value, Domain) else []


# --- domains ----------------------------------------------------------------------------------


def _of_domain(world: World, key: Key, domain: Domain) -> Iterator[Problem]:
    def problem(field: str, message: str) -> Problem:
        return Problem(field, message, object=str(key))

    issuer = Key("issuers", key.project, domain.issuer)
    if domain.issuer not in BUILT_IN_ISSUERS and issuer not in world:
        none = f"there is no issuer '{domain.issuer}' in project {key.project}; declare it, or use local"
        yield Missing("issuer", none, object=str(key))
    for name in domain.names:
        other = next((o for o in world.domains[name] if o != key and o.project == key.project), None)
        if other is not None:
            field = "name" if name == domain.name else f"also[{domain.also.index(name)}]"
            yield problem(field, f"'{name}' is declared by {other} already; say it in one of them only")
    if domain.own_chain:
        if len(world.chained[True]) > MOST_OWN_CHAINS:
            over_many = f"over {MOST_OWN_CHAINS:,} domains are hot or ask for certificates"
            yield problem("", f"{over_many}; let some do without")
        for route in world.leading(domain.name):
            if message := passage.guarded(domain, route):
                yield problem("client_certificates", message)


def _rivalled(world: World, key: Key, domain: Domain) -> Iterator[Conflicting]:
    for name in domain.names:
        for others, message in _rivals(world, name):
            other = next((o for o in others if o.project != key.project), None)
            if other is not None:
                yield Conflicting(Problem("name", message, object=str(key)), other)
                return


def _rivals(world: World, name: str) -> Iterator[tuple[Collection[Key], str]]:
    wildcard = over(name)
    yield world.domains[name], f"'{name}' is declared in another project already"
    yield world.domains[wildcard] if wildcard else (), f"'{name}' is below the wildcard of another project"
    yield world.below[name], f"'{name}' is over a domain of another project"


# --- routes -----------------------------------------------------------------------------------


def _of_route(world: World, key: Key, route: Route) -> Iterator[Problem]:
    def problem(field: str, message: str) -> Problem:
        return Problem(field, message, object=str(key))

    for field, service in zip(("service", "canary.service"), route.services, strict=False):
        yield from _unfit(world, key, field, service, unread=route.tls == "passthrough")
    for index, host in enumerate(route.hosts):
        if not world.covered(host, key.project):
            none = f"no domain of project {key.project} covers '{host}'; declare it under domains"
            yield Missing(f"hosts[{index}]", none, object=str(key))
        elif route.nodes is not None and (elsewhere := _elsewhere(world, host, route)):
            yield problem(f"hosts[{index}]", elsewhere)
        elif message := _astray(world, key, route, host):
            yield problem(f"hosts[{index}]", message)
    for match in matches_of(route):
        others = [o for o in world.matches[match] if o != key and not _apart(world, route, o)]
        if others:
            yield problem("", _overlap(match, key, min(others)))
            return


def _elsewhere(world: World, host: str, route: Route) -> str | None:
    """Say so where no node whatsoever can have both this route and the domain of its host."""
    domain = world.deciding(host)
    if domain is None or domain.nodes is None or route.nodes is None:
        return None
    if not disjoint(domain.nodes, route.nodes):
        return None
    return (
        f"the domain '{domain.name}' is served on other nodes ({shown(domain.nodes)}) than this route"
        f" ({shown(route.nodes)}); let their nodes have a value in common"
    )


def _astray(world: World, key: Key, route: Route, host: str) -> str | None:
    """Say so where a route must not lead to this host, because of its domains or of other routes."""
    past = filter(None, (passage.guarded(domain, route) for domain in _led(world, host, key)))
    beside = (r for r in world.routes_with(host, key) if not disjoint(r.nodes, route.nodes))
    return next(past, None) or passage.shared(host, route, beside)


def _led(world: World, host: str, key: Key) -> Iterator[Domain]:
    """Give the domains with a filter chain of their own that the host of a route leads to."""
    route = world.get(key)
    for name in patterns_of(host):
        if keys := world.domains[name]:
            yield from (d for k in keys if isinstance(d := world.get(k), Domain) and d.own_chain)
            break
    for below in world.below[host] if world.chained[True] else ():
        domain = world.get(below)
        if isinstance(domain, Domain) and domain.own_chain and route in world.leading(domain.name):
            yield domain


def _apart(world: World, route: Route, other: Key) -> bool:
    """Whether no node can have both routes."""
    found = world.get(other)
    return isinstance(found, Route) and disjoint(route.nodes, found.nodes)


def _overlap(match: Match, key: Key, other: Key) -> str:
    whose = f"the route '{other.name}'" if other.project == key.project else "a route of another project"
    return f"{whose} matches {match[0]}{match[1].removeprefix('=')} in the same way already; keep one of them"


# --- services, TCP routes, listen -------------------------------------------------------------


def _unfit(world: World, key: Key, field: str, name: str, *, unread: bool) -> Iterator[Problem]:
    """Say so where a service is not there, or cannot take what it would get."""
    service = world.get(Key("services", key.project, name))
    if not isinstance(service, Service):
        message = f"there is no service '{name}' in project {key.project}; declare it first"
        yield Missing(field, message, object=str(key))
    elif misfit := passage.misfit(service, unread=unread):
        yield Problem(field, misfit, object=str(key))


def _of_service(world: World, key: Key, service: Service) -> Iterator[Problem]:
    for index, backend in enumerate(service.backends):
        if backend.behind is None:
            continue
        sites = (world.get(Key(kind, key.project, backend.behind.site)) for kind in SITES)
        if message := passage.astray(backend.behind, next(filter(None, sites), None)):
            yield Problem(f"backends[{index}]", message, object=str(key))


def _of_tcp_route(world: World, key: Key, route: TcpRoute) -> Iterator[Problem]:
    yield from _unfit(world, key, "service", route.service, unread=True)
    yield from _taken(world, key, route)


def _of_listen(world: World, key: Key, listen: Listen) -> Iterator[Problem]:
    name = listen.default_domain
    if name is not None and not world.covered(name, None):
        message = f"no domain covers '{name}'; declare it under domains"
        yield Problem("default_domain", message, object=str(key))
    elif name is not None and any(r.tls == "passthrough" for r in world.leading(name)):
        message = f"'{name}' is passed through unread, and so cannot be what visitors without SNI get"
        yield Problem("default_domain", message, object=str(key))
    yield from _taken(world, key, listen)


def _taken(world: World, key: Key, value: Listen | TcpRoute) -> Iterator[Problem]:
    others: dict[str, Listen | TcpRoute] = {}
    if key != LISTEN:
        listen = world.get(LISTEN)
        others["listen"] = listen if isinstance(listen, Listen) else Listen()
    for _, text in passage.ports(value):
        for other in world.ports[passage.port_of(text)]:
            found = world.get(other)
            if other == key or not isinstance(found, TcpRoute):
                continue
            if not disjoint(selector_of(value), found.nodes):
                others[str(other)] = found
    for field, message in passage.taken(value, others):
        yield Problem(field, message, object=str(key))
