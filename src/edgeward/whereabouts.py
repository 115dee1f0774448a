"""On which nodes each object is used, and which objects move when others change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from edgeward.certificates.model import Domain
from edgeward.declaration.model import Key
from edgeward.domain_name import wildcard_of
from edgeward.gateway.model import Route, TcpRoute
from edgeward.parsing import Value
from edgeward.placement import EVERYWHERE, NOWHERE, Where, both, either, where
from edgeward.world.objects import World, selector_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is used; ``hidden``: where a node serves the wildcard over a domain and must know that
    the domain itself is served elsewhere.
    """

    used: Where = EVERYWHERE
    hidden: Where = NOWHERE


_ANYWHERE: Final = Place()


def place(world: World, key: Key) -> Place:
    """Give where an object is used: a domain where its selector says, a route where one of its hosts is
    served too, a service where a route leads to it, a TCP route where its selector says.
    """
    if not world.selective:
        return _ANYWHERE
    value = world.get(key)
    if isinstance(value, Domain):
        return _of_domain(world, value)
    if isinstance(value, Route):
        return Place(_of_route(world, value))
    if isinstance(value, TcpRoute):
        return Place(where(value.nodes))
    if key.kind == "services":
        users = [world.get(user) for user in world.users[key.project, key.name]]
        used = either(_of_user(world, user) for user in users)
        return Place(used) if users else _ANYWHERE
    return _ANYWHERE


def of_certificate(world: World, name: str) -> Where:
    """Give where the key of a certificate may be: where the domain is served that decides about its name."""
    domain = world.deciding(name)
    return NOWHERE if domain is None else where(domain.nodes)


@dataclass(frozen=True)
class Moved:
    """What a change moves that is not itself changed: objects, and the certificates of these domains."""

    keys: frozenset[Key] = frozenset()
    domains: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Before:
    """Where everything is that a change may move, before it is made."""

    changed: frozenset[Key]
    places: Mapping[Key, Place]
    names: Mapping[str, Where]


def before(world: World, values: Mapping[Key, tuple[Value | None, Value | None]]) -> Before:
    """Look at what these changes (before and after each) may move; the world is the one before."""
    domains = (value for pair in values.values() for value in pair if isinstance(value, Domain))
    names = frozenset(name for domain in domains for name in domain.names)
    selecting = world.selective or any(
        selector_of(value) is not None for pair in values.values() for value in pair
    )
    doubtful = frozenset(_doubtful(world, values)) - values.keys() if selecting else frozenset()
    places = {key: place(world, key) for key in doubtful}
    return Before(frozenset(values), places, {name: of_certificate(world, name) for name in names})


def moved(world: World, then: Before) -> Moved:
    """Give what moved since; the world is the one after."""
    there = ((key, old) for key, old in then.places.items() if world.get(key) is not None)
    keys = (key for key, old in there if place(world, key) != old)
    domains = (name for name, old in then.names.items() if of_certificate(world, name) != old)
    return Moved(frozenset(keys), frozenset(domains))


def _of_domain(world: World, domain: Domain) -> Place:
    if domain.nodes is None:
        return _ANYWHERE
    exact = (name for name in domain.names if not name.startswith("*."))
    overs = {over for name in exact if (over := wildcard_of(name)) is not None}
    wildcards = (world.deciding(over) for over in overs)
    hidden = [where(wildcard.nodes) for wildcard in wildcards if wildcard is not None]
    return Place(where(domain.nodes), either(hidden) if hidden else NOWHERE)


def _of_user(world: World, user: Value | None) -> Where:
    if isinstance(user, Route):
        return _of_route(world, user)
    return where(user.nodes) if isinstance(user, TcpRoute) else EVERYWHERE


def _of_route(world: World, route: Route) -> Where:
    domains = (world.deciding(host) for host in route.hosts)
    return both(where(route.nodes), either(EVERYWHERE if d is None else where(d.nodes) for d in domains))


def _doubtful(world: World, values: Mapping[Key, tuple[Value | None, Value | None]]) -> Iterator[Key]:
    routes: set[Key] = set()
    for key, pair in values.items():
        for name in {name for value in pair if isinstance(value, Domain) for name in value.names}:
            yield from world.below[name]
            routes.update(world.hosted[name])
        yield from _services(key, pair)
    yield from routes
    for key in routes:
        yield from _services(key, (world.get(key),))


def _services(key: Key, values: Iterable[Value | None]) -> Iterator[Key]:
    for value in values:
        if isinstance(value, (Route, TcpRoute)):
            names = value.services if isinstance(value, Route) else (value.service,)
            yield from (Key("services", key.project, name) for name in names)
