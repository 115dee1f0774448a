"""Every declared object, and what finds it: by its key, by what it has, by whom it names."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

from edgeward import passage
from edgeward.certificates.model import Domain
from edgeward.declaration.index import Index
from edgeward.declaration.model import Key
from edgeward.domain_name import patterns_of, wildcard_of
from edgeward.gateway.model import Listen, Route, Service, TcpRoute
from edgeward.parsing import Value
from edgeward.placement import where
from edgeward.vpn import agreement, validation
from edgeward.vpn.openstack import holding
from edgeward.vpn.openstack import identity as openstack
from edgeward.vpn.openstack.view import Ref
from edgeward.vpn.site import Site

Match = tuple[str, str, frozenset[str], frozenset[tuple[str, str]]]
"""A host, a path, methods and headers."""
Router = tuple[str, str]
"""A project, and the name of a gateway in it."""


class World:
    """Every declared object, each in the indexes of all that it has."""

    def __init__(self) -> None:
        self._objects: dict[Key, Value] = {}
        self.domains = Index()  # by name: more than one only until it is refused
        self.chained = Index()  # domains with a filter chain of their own
        self.below = Index()  # domains by the wildcard over them
        self.issued = Index()  # domains by project and issuer
        self.users = Index()  # routes and TCP routes by project and service
        self.ports = Index()  # listen and TCP routes by port
        self.hosted = Index()  # routes by host, and by the wildcard over it
        self.matches = Index()  # routes by host, path, methods and headers
        self.sites = Index()  # sites by project and router
        self.peers = Index()  # sites by peer
        self.proven = Index()  # sites by their certificate's name, and by the wildcard over it
        self.behind = Index()  # services by project and site
        self._selecting = Index()  # domains and routes that say on which nodes
        self._openstack = Index()  # OpenStack's objects: by kind, by id, and by whom they mean
        self._agreed: dict[Router, Mapping[str, Sequence[agreement.Problem]]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, key: Key) -> Value | None:
        return self._objects.get(key)

    def items(self, kind: str | None = None) -> Iterator[tuple[Key, Value]]:
        return ((k, v) for k, v in self._objects.items() if kind is None or k.kind == kind)

    def put(self, key: Key, value: Value) -> None:
        self.remove(key)
        self._objects[key] = value
        for index, place in self._places(key, value):
            index.add(place, key)
        if isinstance(value, Site):
            self._agreed.pop((value.project, value.gateway), None)

    def remove(self, key: Key) -> None:
        value = self._objects.pop(key, None)
        if value is None:
            return
        for index, place in self._places(key, value):
            index.discard(place, key)
        if isinstance(value, Site):
            self._agreed.pop((value.project, value.gateway), None)

    def _places(self, key: Key, value: Value) -> Iterator[tuple[Index, Hashable]]:
        if key.kind in openstack.KINDS:
            for place in holding.places(key, value):
                yield self._openstack, place
        if (selector := selector_of(value)) is not None:
            yield self._selecting, where(selector)
        if isinstance(value, Domain):
            yield from self._places_of_domain(key, value)
        elif isinstance(value, Route):
            yield from self._places_of_route(key, value)
        elif isinstance(value, TcpRoute):
            yield self.users, (key.project, value.service)
        elif isinstance(value, Service):
            for site in {b.via for b in value.backends if b.via is not None}:
                yield self.behind, (key.project, site)
        elif isinstance(value, Site):
            yield self.sites, (key.project, value.gateway)
            yield self.peers, value.peer
            if value.certificate is not None:
                for name in patterns_of(value.certificate.name):
                    yield self.proven, name
        if isinstance(value, (Listen, TcpRoute)):
            for port in {passage.port_of(text) for _, text in passage.ports(value)}:
                yield self.ports, port

    def _places_of_domain(self, key: Key, domain: Domain) -> Iterator[tuple[Index, Hashable]]:
        yield self.issued, (key.project, domain.issuer)
        if domain.own_chain:
            yield self.chained, True
        for name in domain.names:
            yield self.domains, name
            if (wildcard := over(name)) is not None:
                yield self.below, wildcard

    def _places_of_route(self, key: Key, route: Route) -> Iterator[tuple[Index, Hashable]]:
        for service in route.services:
            yield self.users, (key.project, service)
        for host in route.hosts:
            yield self.hosted, host
            if (wildcard := over(host)) is not None:
                yield self.hosted, wildcard
        for match in matches_of(route):
            yield self.matches, match

    # --- domains and routes -------------------------------------------------------------------

    @property
    def selective(self) -> bool:
        """Whether anything says on which nodes it is served."""
        return bool(self._selecting)

    def selecting(self) -> Iterator[Collection[Key]]:
        """Give the objects that say on which nodes they are served, together those that say the same."""
        return (self._selecting[place] for place in list(self._selecting))

    def deciding(self, host: str) -> Domain | None:
        """Give the domain that decides about a host: the one so named, else the wildcard over it, else that
        of any name.
        """
        for name in patterns_of(host):
            if keys := self.domains[name]:
                found = self._objects[min(keys)]
                return found if isinstance(found, Domain) else None
        return None

    def covered(self, host: str, project: str | None) -> bool:
        """Whether the domain that decides about ``host`` exists, and is this project's (None: anybody's)."""
        for name in patterns_of(host):
            if domains := self.domains[name]:
                return project is None or any(domain.project == project for domain in domains)
        return False

    def routes_with(self, host: str, key: Key | None = None) -> Iterator[Route]:
        """Give the routes, but ``key``, that say a host, or one below it."""
        for other in self.hosted[host]:
            found = self._objects[other]
            if other != key and isinstance(found, Route):
                yield found

    def leading(self, host: str) -> list[Route]:
        """Give the routes of a host: those that say it, else its wildcard's, or any name's."""
        for name in patterns_of(host):
            if said := [r for r in self.routes_with(name) if name in r.hosts]:
                return said
        return []

    # --- sites --------------------------------------------------------------------------------

    def site(self, key: Key) -> Site:
        found = self._objects[key]
        assert isinstance(found, Site)  # indexed as one
        return found

    def together(self, router: Router) -> list[Site]:
        """Give the sites of a router."""
        return [self.site(key) for key in self.sites[router]]

    def disagreeing(self, router: Router) -> Mapping[str, Sequence[agreement.Problem]]:
        """Give what does not hold between the sites of a router, by their names; found out once a change."""
        if router not in self._agreed:
            self._agreed[router] = validation.of_router(self.together(router))
        return self._agreed[router]

    # --- OpenStack's objects, see vpn/openstack/view.py -----------------------------------------

    def declared(self, ref: Ref) -> Value | None:
        """Give an object."""
        return self._objects.get(Key(*ref))

    def meaning(self, ref: Ref) -> Collection[Ref]:
        """Give the objects that name this one in any of their fields."""
        return [key for place in holding.meanings(ref) for key in self._openstack[place]]

    def external(self, name: str) -> Ref | None:
        """Give the external network of this name, whosever it is."""
        return min(self._openstack[holding.externals(name)], default=None)

    def of_kind(self, kind: str) -> Collection[Key]:
        """Give all objects of one of OpenStack's kinds."""
        return self._openstack[kind, "", ""]

    def identified(self, kind: str, identity: str) -> Collection[Key]:
        """Give the objects of one of OpenStack's kinds with an id: of several projects where names are."""
        return self._openstack[holding.by_id(kind, identity)]


def selector_of(value: Value | None) -> Mapping[str, Sequence[str]] | None:
    """Give what an object says of the nodes that have it."""
    return value.nodes if isinstance(value, (Domain, Route, TcpRoute, Site)) else None


def over(host: str) -> str | None:
    """Give the wildcard over a host."""
    return None if host.startswith("*") else wildcard_of(host)


def matches_of(route: Route) -> Iterator[Match]:
    """Give what a route matches, of each host and path."""
    methods = frozenset(route.methods)
    headers = frozenset(route.headers.items())
    for host in dict.fromkeys(route.hosts):
        for path in dict.fromkeys(route.paths):
            yield host, path, methods, headers
