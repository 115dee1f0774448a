"""One state of the gateway after another as Envoy's resources, doing again only what differs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgeward.gateway.envoy import proofs
from edgeward.gateway.envoy.cluster import cluster
from edgeward.gateway.envoy.gateway import Gateway
from edgeward.gateway.envoy.limits import buckets
from edgeward.gateway.envoy.listener import Listening
from edgeward.gateway.envoy.route import leads_to
from edgeward.gateway.envoy.routes import Around, around, route_configurations
from edgeward.gateway.envoy.table import Key, RouteTable
from edgeward.gateway.model import Route, Service
from edgeward.xds.resource import Resource

V = TypeVar("V", Route, Service)


@dataclass(frozen=True)
class _Difference(Generic[V]):
    """Values that are there now, and keys of those that are no more."""

    put: list[V]
    gone: list[Key]


class Translation:
    """``update(gateway)`` gives the resources of a state, however it came about.

    Values are told apart by identity: what is the same object as before costs next to nothing. After an
    exception a translation is of no more use.
    """

    def __init__(self) -> None:
        self._routes: dict[int, Route] = {}
        self._services: dict[int, Service] = {}
        self._declared: dict[Key, Service] = {}
        self._users: dict[Key, set[Key]] = {}
        self._carrying: set[Key] = set()
        self._clusters: dict[Key, Resource] = {}
        self._table = RouteTable()
        self._listening = Listening()
        self._around: Around | None = None
        self._roots = ""

    @property
    def services(self) -> tuple[Service, ...]:
        """Those that some route leads to, by project and name."""
        used = {*self._users, *self._carrying}
        return tuple(self._declared[key] for key in sorted(used) if key in self._declared)

    def distance(self, gateway: Gateway) -> int:
        """Give a measure of the work that ``update`` would be: changed hosts and services."""
        routes = (r for r in gateway.routes if id(r) not in self._routes)
        services = (s for s in gateway.services if id(s) not in self._services)
        return sum(len(r.hosts) for r in routes) + sum(1 for _ in services)

    def update(self, gateway: Gateway, doubtful: Collection[str] | None = None) -> tuple[Resource, ...]:
        """Give all clusters, listeners, the buckets of rate limits and route configurations, in this order.

        ``doubtful``: domains that may be other ones, where ``gateway.domains`` is the mapping of before.
        """
        self._take_services(gateway)
        self._take_routes(gateway)
        self._carrying = {(route.project, route.service) for route in gateway.tcp_routes}
        self._table.domains(gateway.domains, doubtful)
        clients = ((domain, edge.client) for domain, edge in gateway.edges.items())
        self._table.guards({domain: client.required for domain, client in clients if client is not None})
        surroundings = around(gateway.listen, len(self._table), proofs=gateway.proofs is not None)
        if surroundings != self._around:
            self._around = surroundings
            self._table.touch_all()
        configurations = route_configurations(self._table, surroundings, self._declared, gateway.listen)
        return (
            *self._used_clusters(),
            *(proofs.clusters(gateway.proofs) if gateway.proofs is not None else ()),
            *self._listening.update(gateway),
            buckets(gateway.routes),
            *configurations,
        )

    def _take_services(self, gateway: Gateway) -> None:
        now = {id(service): service for service in gateway.services}
        changed = _difference(self._services, now)
        for key in changed.gone:
            del self._declared[key]
        self._declared.update(((s.project, s.name), s) for s in changed.put)
        if gateway.system_roots != self._roots:
            self._roots = gateway.system_roots
            self._clusters.clear()
        for key in (*changed.gone, *((s.project, s.name) for s in changed.put)):
            self._clusters.pop(key, None)
            for route in self._users.get(key, ()):
                self._table.touch(route)
        self._services = now

    def _take_routes(self, gateway: Gateway) -> None:
        now = {id(route): route for route in gateway.routes}
        for before in (route for identity, route in self._routes.items() if identity not in now):
            for service in leads_to(before):
                self._users[service].discard((before.project, before.name))
                if not self._users[service]:
                    del self._users[service]
        changed = _difference(self._routes, now)
        for key in changed.gone:
            self._table.remove(key)
        for route in changed.put:
            self._table.put(route)
            for service in leads_to(route):
                self._users.setdefault(service, set()).add((route.project, route.name))
        self._routes = now

    def _used_clusters(self) -> Iterable[Resource]:
        for service in self.services:
            key = service.project, service.name
            if key not in self._clusters:
                self._clusters[key] = cluster(service, self._roots)
            yield self._clusters[key]


def _difference(before: dict[int, V], now: dict[int, V]) -> _Difference[V]:
    put = [value for identity, value in now.items() if identity not in before]
    there = {(value.project, value.name) for value in put}
    left = ((v.project, v.name) for identity, v in before.items() if identity not in now)
    return _Difference(put, [key for key in left if key not in there])
