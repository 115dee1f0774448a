"""Every declared object at once, and what must hold between objects of different kinds.

``World`` holds every object with the lookups its checks need, so that a change of one object looks
at what that change touches and not at everything.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgeward import passage
from edgeward.certificates.model import UPLOADED, Domain, Issuer, Withheld
from edgeward.declaration.index import Index
from edgeward.declaration.model import DEFAULT_PROJECT, Declared, Key
from edgeward.domain_name import CATCH_ALL, patterns_of, wildcard_of
from edgeward.errors import Problem
from edgeward.gateway.model import Listen, Route, Service, TcpRoute
from edgeward.parsing import Value
from edgeward.placement import disjoint, shown, where
from edgeward.vpn import agreement, validation
from edgeward.vpn.openstack import holding
from edgeward.vpn.openstack import identity as openstack
from edgeward.vpn.openstack.view import Ref
from edgeward.vpn.site import Site

MOST_OWN_CHAINS: Final = 1_000
"""Filter chains cost Envoy memory, on each address and each worker."""
BUILT_IN_ISSUERS: Final = frozenset({"local", UPLOADED})
"""Exist in every project without being declared."""
_Match = tuple[str, str, frozenset[str], frozenset[tuple[str, str]]]
_SITES: Final = ("vpn", "ipsec_site_connections")
"""Kinds of what a backend may be behind."""
_MOST_OF_PEER: Final = 100
_LISTEN: Final = Key("listen", DEFAULT_PROJECT, "listen")


class Missing(Problem):
    """An object names what is not among these; it may be declared elsewhere."""


def check(objects: Iterable[Declared]) -> list[Problem]:
    """Give everything that does not hold between these objects, taken as all there are."""
    world = World()
    keys = []
    for declared in objects:
        world.put(declared.key, declared.value)
        keys.append(declared.key)
    return [p for key in keys for p in (*world.problems(key), *(c.problem for c in world.conflicts(key)))]


@dataclass(frozen=True)
class Conflicting:
    """A problem, and the object of another project that stands in the way."""

    problem: Problem
    other: Key


class World:
    """Every declared object; ``problems(key)`` says what does not hold for one of them."""

    def __init__(self) -> None:
        self._objects: dict[Key, Value] = {}
        self._domains = Index()  # by name: more than one only until it is refused
        self._chained = Index()  # domains with a filter chain of their own
        self._below = Index()  # domains by the wildcard over them
        self._issued = Index()  # domains by project and issuer
        self._users = Index()  # routes and TCP routes by project and service
        self._ports = Index()  # listen and TCP routes by port
        self._hosted = Index()  # routes by host, and by the wildcard over it
        self._matches = Index()  # routes by host, path, methods and headers
        self._sites = Index()  # sites by project and router
        self._peers = Index()  # sites by peer
        self._proven = Index()  # sites by their certificate's name, and by the wildcard over it
        self._agreed: dict[tuple[str, str], Mapping[str, Sequence[agreement.Problem]]] = {}
        self._selecting = Index()  # domains and routes that say on which nodes
        self._behind = Index()  # services by project and site
        self._openstack = Index()  # OpenStack's objects: by kind, by id, and by whom they mean

    def __len__(self) -> int:
        return len(self._objects)

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

    def problems(self, key: Key) -> list[Problem]:
        """Give what does not hold for this object; nothing where it is not there."""
        value = self._objects.get(key)
        if isinstance(value, Domain):
            return list(self._of_domain(key, value))
        if isinstance(value, Route):
            return list(self._of_route(key, value))
        if isinstance(value, Listen):
            return list(self._of_listen(key, value))
        if isinstance(value, TcpRoute):
            return list(self._of_tcp_route(key, value))
        if isinstance(value, Service):
            return list(self._of_service(key, value))
        if isinstance(value, Site):
            return list(self._of_site(key, value))
        if key.kind in openstack.KINDS and value is not None:
            found = holding.problems(self, key, value)
            return [Problem(field, message, object=str(key)) for field, message in found]
        if isinstance(value, Withheld) and not self._covered(value.name, key.project):
            message = f"no domain of project {key.project} covers '{value.name}'; declare it under domains"
            return [Problem("name", message, object=str(key))]
        return []

    def touched_by(self, key: Key, *values: Value | None) -> set[Key]:
        """Give the other objects for which a change of ``key`` may matter; ``values``: before and after."""
        touched: set[Key] = set(self._behind[key.project, key.name]) if key.kind in _SITES else set()
        if key.kind in openstack.KINDS:
            touched.update(Key(*ref) for ref in holding.touched(self, key))
        for value in values:
            if isinstance(value, Domain) and value.name == CATCH_ALL:
                touched.update(k for k in self._objects if k.kind in ("listen", "routes", "withheld"))
            if isinstance(value, Domain):
                touched.add(_LISTEN)
                for name in value.names:
                    touched.update(self._domains[name], self._below[name])
                    touched.update(self._hosted[name], self._domains[_over(name)], self._proven[name])
            elif isinstance(value, Route):
                touched.add(_LISTEN)  # it may pass through the default domain
            elif isinstance(value, Service):
                touched |= set(self._users[key.project, key.name])
            elif isinstance(value, Issuer):
                touched |= set(self._issued[key.project, key.name])
            elif isinstance(value, Site):
                touched |= self._around(value)
        return touched - {key}

    def conflicts(self, key: Key) -> list[Conflicting]:
        """Give what another project's domains leave no room for; nothing where it is not there."""
        value = self._objects.get(key)
        return list(self._conflicts(key, value)) if isinstance(value, Domain) else []

    # --- where things are used ----------------------------------------------------------------

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
            if keys := self._domains[name]:
                found = self._objects[min(keys)]
                return found if isinstance(found, Domain) else None
        return None

    def hosted(self, name: str) -> Collection[Key]:
        """Give the routes with a host of this name or, of a wildcard, one below it."""
        return self._hosted[name]

    def below(self, wildcard: str) -> Collection[Key]:
        """Give the domains one label below a wildcard."""
        return self._below[wildcard]

    def users(self, project: str, service: str) -> Collection[Key]:
        """Give the routes that lead to a service."""
        return self._users[project, service]

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

    def _places(self, key: Key, value: Value) -> Iterator[tuple[Index, Hashable]]:
        if key.kind in openstack.KINDS:
            for place in holding.places(key, value):
                yield self._openstack, place
        if (selector := selector_of(value)) is not None:
            yield self._selecting, where(selector)
        if isinstance(value, Domain):
            yield self._issued, (key.project, value.issuer)
            if value.own_chain:
                yield self._chained, True
            for name in value.names:
                yield self._domains, name
                if (over := _over(name)) is not None:
                    yield self._below, over
        elif isinstance(value, Route):
            for service in value.services:
                yield self._users, (key.project, service)
            for host in value.hosts:
                yield self._hosted, host
                if (over := _over(host)) is not None:
                    yield self._hosted, over
            for match in _matches(value):
                yield self._matches, match
        elif isinstance(value, TcpRoute):
            yield self._users, (key.project, value.service)
        elif isinstance(value, Service):
            for site in {b.via for b in value.backends if b.via is not None}:
                yield self._behind, (key.project, site)
        elif isinstance(value, Site):
            yield self._sites, (key.project, value.gateway)
            yield self._peers, value.peer
            if value.certificate is not None:
                for name in patterns_of(value.certificate.name):
                    yield self._proven, name
        if isinstance(value, (Listen, TcpRoute)):
            for port in {passage.port_of(text) for _, text in passage.ports(value)}:
                yield self._ports, port

    def _of_domain(self, key: Key, domain: Domain) -> Iterator[Problem]:
        def problem(field: str, message: str) -> Problem:
            return Problem(field, message, object=str(key))

        issuer = Key("issuers", key.project, domain.issuer)
        if domain.issuer not in BUILT_IN_ISSUERS and issuer not in self._objects:
            none = f"there is no issuer '{domain.issuer}' in project {key.project}; declare it, or use local"
            yield Missing("issuer", none, object=str(key))
        for name in domain.names:
            other = next((o for o in self._domains[name] if o != key and o.project == key.project), None)
            if other is not None:
                field = "name" if name == domain.name else f"also[{domain.also.index(name)}]"
                yield problem(field, f"'{name}' is declared by {other} already; say it in one of them only")
        if domain.own_chain:
            if len(self._chained[True]) > MOST_OWN_CHAINS:
                yield problem(
                    "",
                    f"over {MOST_OWN_CHAINS:,} domains are hot or ask for certificates; let some do without",
                )
            for route in self._leading(domain.name):
                if message := passage.guarded(domain, route):
                    yield problem("client_certificates", message)

    def _conflicts(self, key: Key, domain: Domain) -> Iterator[Conflicting]:
        for name in domain.names:
            for others, message in self._rivals(name):
                other = next((o for o in others if o.project != key.project), None)
                if other is not None:
                    yield Conflicting(Problem("name", message, object=str(key)), other)
                    return

    def _rivals(self, name: str) -> Iterator[tuple[Collection[Key], str]]:
        over = _over(name)
        yield self._domains[name], f"'{name}' is declared in another project already"
        yield self._domains[over] if over else (), f"'{name}' is below the wildcard of another project"
        yield self._below[name], f"'{name}' is over a domain of another project"

    def _of_route(self, key: Key, route: Route) -> Iterator[Problem]:
        def problem(field: str, message: str) -> Problem:
            return Problem(field, message, object=str(key))

        for field, service in zip(("service", "canary.service"), route.services, strict=False):
            yield from self._unfit(key, field, service, unread=route.tls == "passthrough")
        for index, host in enumerate(route.hosts):
            if not self._covered(host, key.project):
                none = f"no domain of project {key.project} covers '{host}'; declare it under domains"
                yield Missing(f"hosts[{index}]", none, object=str(key))
            elif route.nodes is not None and (elsewhere := self._elsewhere(host, route)):
                yield problem(f"hosts[{index}]", elsewhere)
            elif message := self._astray(key, route, host):
                yield problem(f"hosts[{index}]", message)
        for match in _matches(route):
            others = [o for o in self._matches[match] if o != key and not self._apart(route, o)]
            if others:
                yield problem("", _overlap(match, key, min(others)))
                return

    def _routes_with(self, host: str, key: Key | None = None) -> Iterator[Route]:
        """Give the routes, but ``key``, that say a host, or one below it."""
        for other in self._hosted[host]:
            found = self._objects[other]
            if other != key and isinstance(found, Route):
                yield found

    def _routes_beside(self, host: str, key: Key, route: Route) -> Iterator[Route]:
        """Give the others of a host that a node may have beside this one."""
        return (r for r in self._routes_with(host, key) if not disjoint(r.nodes, route.nodes))

    def _astray(self, key: Key, route: Route, host: str) -> str | None:
        """Say so where a route must not lead to this host, because of its domains or of other routes."""
        past = filter(None, (passage.guarded(domain, route) for domain in self._led(host, key)))
        return next(past, None) or passage.shared(host, route, self._routes_beside(host, key, route))

    def _led(self, host: str, key: Key) -> Iterator[Domain]:
        """Give the domains with a filter chain of their own that the host of a route leads to."""
        route = self._objects[key]
        for name in patterns_of(host):
            if keys := self._domains[name]:
                yield from (d for k in keys if isinstance(d := self._objects[k], Domain) and d.own_chain)
                break
        for below in self._below[host] if self._chained[True] else ():
            domain = self._objects[below]
            if isinstance(domain, Domain) and domain.own_chain and route in self._leading(domain.name):
                yield domain

    def _unfit(self, key: Key, field: str, name: str, *, unread: bool) -> Iterator[Problem]:
        """Say so where a service is not there, or cannot take what it would get."""
        service = self._objects.get(Key("services", key.project, name))
        if not isinstance(service, Service):
            message = f"there is no service '{name}' in project {key.project}; declare it first"
            yield Missing(field, message, object=str(key))
        elif misfit := passage.misfit(service, unread=unread):
            yield Problem(field, misfit, object=str(key))

    def _of_service(self, key: Key, service: Service) -> Iterator[Problem]:
        for index, backend in enumerate(service.backends):
            if backend.behind is None:
                continue
            sites = (self._objects.get(Key(kind, key.project, backend.behind.site)) for kind in _SITES)
            if message := passage.astray(backend.behind, next(filter(None, sites), None)):
                yield Problem(f"backends[{index}]", message, object=str(key))

    def _of_tcp_route(self, key: Key, route: TcpRoute) -> Iterator[Problem]:
        yield from self._unfit(key, "service", route.service, unread=True)
        yield from self._taken(key, route)

    def _of_site(self, key: Key, site: Site) -> Iterator[Problem]:
        router = (site.project, site.gateway)
        if router not in self._agreed:
            self._agreed[router] = validation.of_router(self._together(router))
        found = list(self._agreed[router].get(site.name, ()))
        if (proof := site.certificate) is not None and not self._covered(proof.name, site.project):
            found.append(("certificate.name", f"no domain of this project covers '{proof.name}'; declare it"))
        if len(self._peers[site.peer]) > 1:
            found += self._at_shared_address(site, router)
        for field, message in found:
            yield Problem(field, message, object=str(key))

    def _at_shared_address(self, site: Site, router: tuple[str, str]) -> list[agreement.Problem]:
        beside = self._together(router)
        if not agreement.shares_address(site.peer, beside):
            return []
        routers = {(k.project, self._site(k).gateway) for k in self._peers[site.peer]} - {router}
        if len(routers) > _MOST_OF_PEER:
            message = f"over {_MOST_OF_PEER} routers that may share an address have the peer {site.peer}"
            return [("peer", f"{message}; give this one outside.address")]
        return list(agreement.of_shared_address(site, beside, map(self._together, sorted(routers))))

    def _together(self, router: tuple[str, str]) -> list[Site]:
        """Give the sites of a router, which is a project and a name."""
        return [self._site(key) for key in self._sites[router]]

    def _around(self, site: Site) -> set[Key]:
        """Give the sites that a site may stand in the way of."""
        found = set(self._sites[site.project, site.gateway])
        for other in self._together((site.project, site.gateway)):
            found.update(self._peers[other.peer])
        return found | set(self._peers[site.peer])

    def _site(self, key: Key) -> Site:
        found = self._objects[key]
        assert isinstance(found, Site)  # indexed as one
        return found

    def _taken(self, key: Key, value: Listen | TcpRoute) -> Iterator[Problem]:
        others: dict[str, Listen | TcpRoute] = {}
        if key != _LISTEN:
            listen = self._objects.get(_LISTEN)
            others["listen"] = listen if isinstance(listen, Listen) else Listen()
        for _, text in passage.ports(value):
            for other in self._ports[passage.port_of(text)]:
                found = self._objects[other]
                if other == key or not isinstance(found, TcpRoute):
                    continue
                if not disjoint(selector_of(value), found.nodes):
                    others[str(other)] = found
        for field, message in passage.taken(value, others):
            yield Problem(field, message, object=str(key))

    def _elsewhere(self, host: str, route: Route) -> str | None:
        """Say so where no node whatsoever can have both this route and the domain of its host."""
        domain = self.deciding(host)
        if domain is None or domain.nodes is None or route.nodes is None:
            return None
        if not disjoint(domain.nodes, route.nodes):
            return None
        return (
            f"the domain '{domain.name}' is served on other nodes ({shown(domain.nodes)}) than this route"
            f" ({shown(route.nodes)}); let their nodes have a value in common"
        )

    def _apart(self, route: Route, other: Key) -> bool:
        """Whether no node can have both routes."""
        found = self._objects.get(other)
        return isinstance(found, Route) and disjoint(route.nodes, found.nodes)

    def _of_listen(self, key: Key, listen: Listen) -> Iterator[Problem]:
        name = listen.default_domain
        if name is not None and not self._covered(name, None):
            message = f"no domain covers '{name}'; declare it under domains"
            yield Problem("default_domain", message, object=str(key))
        elif name is not None and any(r.tls == "passthrough" for r in self._leading(name)):
            message = f"'{name}' is passed through unread, and so cannot be what visitors without SNI get"
            yield Problem("default_domain", message, object=str(key))
        yield from self._taken(key, listen)

    def _leading(self, host: str) -> list[Route]:
        """Give the routes of a host: those that say it, else its wildcard's, or any name's."""
        for name in patterns_of(host):
            if said := [r for r in self._routes_with(name) if name in r.hosts]:
                return said
        return []

    def _covered(self, host: str, project: str | None) -> bool:
        """Whether the domain that decides about ``host`` exists, and is this project's (None: anybody's)."""
        for name in patterns_of(host):
            if domains := self._domains[name]:
                return project is None or any(domain.project == project for domain in domains)
        return False


def selector_of(value: Value | None) -> Mapping[str, Sequence[str]] | None:
    """Give what an object says of the nodes that have it."""
    return value.nodes if isinstance(value, (Domain, Route, TcpRoute, Site)) else None


def _overlap(match: _Match, key: Key, other: Key) -> str:
    whose = f"the route '{other.name}'" if other.project == key.project else "a route of another project"
    return f"{whose} matches {match[0]}{match[1].removeprefix('=')} in the same way already; keep one of them"


def _over(host: str) -> str | None:
    return None if host.startswith("*") else wildcard_of(host)


def _matches(route: Route) -> Iterator[_Match]:
    methods = frozenset(route.methods)
    headers = frozenset(route.headers.items())
    for host in dict.fromkeys(route.hosts):
        for path in dict.fromkeys(route.paths):
            yield host, path, methods, headers
