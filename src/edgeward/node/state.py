"""The declared state as this node last heard it, and which names a change touches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from edgeward.certificates.model import Cache, Domain
from edgeward.domain_name import wildcard_of
from edgeward.errors import Invalid
from edgeward.gateway.model import Listen, Route, Service, TcpRoute
from edgeward.parsing import parse


@dataclass(slots=True)
class Touched:
    """What a change makes doubtful: exact ``names``, every name below a ``*.suffix`` of ``suffixes``,
    all of them (``everything``), Envoy's configuration (``gateway``), the tiers' bounds (``cache``).

    ``expired``: names whose copies must go although they have not changed; ``*`` alone: all.
    """

    names: set[str] = field(default_factory=set)
    suffixes: set[str] = field(default_factory=set)
    everything: bool = False
    gateway: bool = False
    cache: bool = False
    default_domain: bool = False
    expired: set[str] = field(default_factory=set)

    def add(self, pattern: str) -> None:
        (self.suffixes if pattern.startswith("*.") else self.names).add(pattern)

    def hits(self, name: str) -> bool:
        """Tell whether a canonical name is touched."""
        return (
            self.everything
            or name in self.names
            or (bool(self.suffixes) and wildcard_of(name) in self.suffixes)
        )

    def expires(self, name: str) -> bool:
        return bool(self.expired) and (
            "*" in self.expired or name in self.expired or wildcard_of(name) in self.expired
        )


_OWN = ("client_certificates",)


class State:
    """Declared objects by kind. Values that do not parse are kept out and told in ``problems``."""

    def __init__(self, node: str = "") -> None:
        self.node = node
        """The name of this node."""
        self.forget()

    def forget(self) -> None:
        """Begin with nothing."""
        self.revision = 0
        self.complete = True
        """False where the sealed copy could not be read in whole."""
        self.listen = Listen()
        self.cache = Cache()
        self.domains: dict[str, str] = {}
        """Name or ``*.suffix`` → project."""
        self.elsewhere: set[str] = set()
        """Names that other nodes serve, below wildcards that this one serves."""
        self._chained = False
        self.own: dict[str, Domain] = {}
        """Domains whose visitors get a filter chain of their own."""
        self._projects: set[str] = set()
        """Every project that had a domain: with more than one, routes depend on domains."""
        self.services: dict[tuple[str, str], Service] = {}
        self.routes: dict[tuple[str, str], Route] = {}
        self.tcp_routes: dict[tuple[str, str], TcpRoute] = {}
        self.problems: dict[str, str] = {}

    @property
    def domains_matter(self) -> bool:
        """Whether Envoy's configuration depends on domains: they are, or were, of more than one project, or
        some have, or had, a filter chain of their own."""
        return len(self._projects) > 1 or self._chained

    def covered(self, name: str) -> bool:
        """Tell whether a declared domain covers a canonical exact name."""
        if name in self.domains:
            return True
        return wildcard_of(name) in self.domains and name not in self.elsewhere

    def put(self, kind: str, project: str, name: str, value: dict[str, Any], touched: Touched) -> None:
        key = f"{kind}/{project}/{name}"
        try:
            self._take(kind, project, name, value, touched)
            self.problems.pop(key, None)
        except Invalid as error:
            self.problems[key] = f"this node does not understand it, is it older than the controller? {error}"

    def _take(self, kind: str, project: str, name: str, value: dict[str, Any], touched: Touched) -> None:
        if kind == "domains" and value.get("elsewhere"):
            self._remove_domain(name, touched)
            self.elsewhere.add(name)
        elif kind == "domains":
            self._domain(name, project, value, touched)
            self.elsewhere.discard(name)
        elif kind == "services":
            self.services[project, name] = parse(Service, value)
            touched.gateway = True
        elif kind == "routes":
            self.routes[project, name] = parse(Route, value)
            touched.gateway = True
        elif kind == "tcp_routes":
            self.tcp_routes[project, name] = parse(TcpRoute, value)
            touched.gateway = True
        elif kind == "listen":
            self._listen(parse(Listen, value).of_node(self.node), touched)
        elif kind == "cache":
            self.cache = parse(Cache, value)
            touched.cache = True

    def remove(self, kind: str, project: str, name: str, touched: Touched) -> None:
        self.problems.pop(f"{kind}/{project}/{name}", None)
        if kind == "domains":
            self.elsewhere.discard(name)
            self._remove_domain(name, touched)
        elif kind == "services":
            self.services.pop((project, name), None)
            touched.gateway = True
        elif kind == "routes":
            self.routes.pop((project, name), None)
            touched.gateway = True
        elif kind == "tcp_routes":
            self.tcp_routes.pop((project, name), None)
            touched.gateway = True
        elif kind == "listen":
            self._listen(Listen(), touched)
        elif kind == "cache":
            self.cache = Cache()
            touched.cache = True

    def _remove_domain(self, name: str, touched: Touched) -> None:
        touched.add(name)
        matters = len(self._projects) > 1 or self._chains_matter(name)
        touched.gateway |= matters and name in self.domains
        self.domains.pop(name, None)
        self.own.pop(name, None)

    def _domain(self, name: str, project: str, value: dict[str, Any], touched: Touched) -> None:
        before = self._chains_matter(name)
        # parsed only where it says something that most do not: there may be 100,000
        domain = parse(Domain, value) if any(value.get(field) for field in _OWN) else None
        if domain is not None and domain.own_chain:
            self.own[name] = domain
            self._chained = True
        else:
            self.own.pop(name, None)
        self.domains[name] = project
        self._projects.add(project)
        touched.add(name)
        touched.gateway |= len(self._projects) > 1 or before or self._chains_matter(name)

    def _chains_matter(self, name: str) -> bool:
        """Tell whether a name, or the wildcard over it, has a filter chain of its own."""
        return name in self.own or wildcard_of(name) in self.own

    def _listen(self, listen: Listen, touched: Touched) -> None:
        touched.default_domain |= listen.default_domain != self.listen.default_domain
        touched.gateway = True
        self.listen = listen

    def services_of(self, name: str) -> Iterable[Service]:
        """Give the services that routes of a canonical name lead to."""
        patterns = {name, wildcard_of(name)}
        for route in self.routes.values():
            service = self.services.get((route.project, route.service or ""))
            if service is not None and not patterns.isdisjoint(route.hosts):
                yield service
