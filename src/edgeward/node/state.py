"""The declared state as this node last heard it, and which names a change touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edgeward import __version__
from edgeward.certificates.model import Cache, Domain
from edgeward.domain_name import CATCH_ALL, patterns_of, wildcard_of
from edgeward.errors import Invalid
from edgeward.gateway.model import Listen, Route, Service, TcpRoute
from edgeward.parsing import Value, parse


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
        if pattern == CATCH_ALL:
            self.everything = True
        else:
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


_OWN = ("client_certificates", "hot")
WITHHELD: Final = object()
"""A name that somebody deactivated."""


@dataclass(frozen=True, slots=True)
class Plain:
    """All that a node needs of most domains: that they are there, or that other nodes serve them."""

    also: tuple[str, ...] = ()
    elsewhere: bool = False


DOMAIN: Final = Plain()
ELSEWHERE: Final = Plain(elsewhere=True)
_DOMAIN_FIELDS: Final = frozenset({*Domain.model_fields, "elsewhere"})
_MODELS: Final[Mapping[str, type[Value]]] = {
    "domains": Domain,
    "services": Service,
    "routes": Route,
    "tcp_routes": TcpRoute,
    "listen": Listen,
    "cache": Cache,
}
Understood = Value | object


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an object is not in force as it is now, and since which revision."""

    text: str
    revision: int


def understand(kind: str, value: dict[str, Any]) -> Understood:
    """Give an object as ``State.put`` takes it; raises Invalid where this version does not know it."""
    if kind == "domains":
        unknown = value.keys() - _DOMAIN_FIELDS
        if unknown:
            raise Invalid(not_known(", ".join(sorted(unknown))))
        if not any(value.get(field) for field in _OWN):
            # parsed only where it says something that most do not: there may be 100,000
            plain = ELSEWHERE if value.get("elsewhere") else DOMAIN
            return replace(plain, also=tuple(value["also"])) if value.get("also") else plain
    if kind == "withheld":
        return WITHHELD
    model = _MODELS.get(kind)
    if model is None:
        raise Invalid(not_known(kind))
    try:
        return parse(model, value)
    except Invalid as error:
        raise Invalid(not_known(str(error))) from error


def not_known(what: str) -> str:
    return f"this node's version {__version__} does not know what it says ({what}); upgrade the node"


class State:
    """Declared objects by kind. What is not understood stays as it was and is told in ``problems``."""

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
        self.elsewhere: dict[str, str] = {}
        """Names that other nodes serve, below wildcards that this one serves → project."""
        self.withheld: set[tuple[str, str]] = set()
        """Project and name, or ``*.suffix``, of what somebody deactivated."""
        self._also: dict[str, tuple[str, ...]] = {}
        self._said_by: dict[str, str] = {}
        """Other names of a domain → its own name: what one change moves from one to the other comes in any
        order."""
        self._chained = False
        self._own: dict[str, Domain] = {}
        self.own: Mapping[str, Domain] = {}
        """Domains whose visitors get a filter chain of their own."""
        self._projects: set[str] = set()
        """Every project that had a domain: with more than one, routes depend on domains."""
        self.services: dict[tuple[str, str], Service] = {}
        self.routes: dict[tuple[str, str], Route] = {}
        self.tcp_routes: dict[tuple[str, str], TcpRoute] = {}
        self.problems: dict[str, Problem] = {}

    @property
    def domains_matter(self) -> bool:
        """Whether Envoy's configuration depends on domains: they are, or were, of more than one project, or
        some have, or had, a filter chain of their own."""
        return len(self._projects) > 1 or self._chained

    def covered(self, name: str) -> bool:
        """Tell whether a declared domain covers a canonical exact name, and nobody deactivated it."""
        return self.covering(name) is not None

    def covering(self, name: str) -> str | None:
        """Give the pattern of the domain that covers a canonical exact name, where nobody deactivated it."""
        project = self.domains.get(name)
        if project is not None:
            return name if (project, name) not in self.withheld else None
        if name in self.elsewhere:
            return None
        for pattern in (wildcard_of(name), CATCH_ALL):
            project = self.domains.get(pattern or "")
            if pattern is not None and project is not None:
                free = self.withheld.isdisjoint(((project, name), (project, pattern)))
                return pattern if free else None
        return None

    def put(self, kind: str, project: str, name: str, understood: Understood, touched: Touched) -> None:
        """Take an object in as ``understand`` gave it."""
        self.problems.pop(f"{kind}/{project}/{name}", None)
        self._take(kind, project, name, understood, touched)

    def refuse(self, kind: str, project: str, name: str, problem: Problem) -> None:
        """Keep an object as it was, as what it is now is not understood here."""
        self.problems[f"{kind}/{project}/{name}"] = problem

    def _take(self, kind: str, project: str, name: str, value: Understood, touched: Touched) -> None:
        if kind == "domains":
            self._said_by.pop(name, None)
            self._others(name, value.also if isinstance(value, (Domain, Plain)) else (), touched)
            for one in (name, *self._also.get(name, ())):
                if isinstance(value, Plain) and value.elsewhere:
                    self._remove_domain(one, touched)
                    self.elsewhere[one] = project
                else:
                    self._domain(one, project, value if isinstance(value, Domain) else None, touched)
                    self.elsewhere.pop(one, None)
        elif value is WITHHELD:
            self._withhold(project, name, touched, withheld=True)
        elif isinstance(value, Service):
            self.services[project, name] = value
            touched.gateway = True
        elif isinstance(value, Route):
            self.routes[project, name] = value
            touched.gateway = True
        elif isinstance(value, TcpRoute):
            self.tcp_routes[project, name] = value
            touched.gateway = True
        elif isinstance(value, Listen):
            self._listen(value.of_node(self.node), touched)
        elif isinstance(value, Cache):
            self.cache = value
            touched.cache = True

    def remove(self, kind: str, project: str, name: str, touched: Touched) -> None:
        self.problems.pop(f"{kind}/{project}/{name}", None)
        if kind == "domains":
            self._undeclare(project, name, touched)
        elif kind == "withheld":
            self._withhold(project, name, touched, withheld=False)
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

    def _undeclare(self, project: str, name: str, touched: Touched) -> None:
        """Take a domain away, but not one that is another project's by now: that comes in any order, too."""
        by_itself = name not in self._said_by
        if by_itself and (self.domains.get(name) or self.elsewhere.get(name)) not in (None, project):
            return
        self._others(name, (), touched)
        if by_itself:
            self.elsewhere.pop(name, None)
            self._remove_domain(name, touched)

    def _others(self, name: str, also: tuple[str, ...], touched: Touched) -> None:
        """Take note of the other names of a domain; those that nobody says any more go."""
        for gone in self._also.pop(name, ()):
            if gone not in also and self._said_by.get(gone) == name:
                del self._said_by[gone]
                self.elsewhere.pop(gone, None)
                self._remove_domain(gone, touched)
        if also:
            self._also[name] = also
            self._said_by.update(dict.fromkeys(also, name))

    def _remove_domain(self, name: str, touched: Touched) -> None:
        touched.add(name)
        matters = len(self._projects) > 1 or self._chains_matter(name)
        touched.gateway |= matters and name in self.domains
        self.domains.pop(name, None)
        self._chain(name, None)

    def _withhold(self, project: str, name: str, touched: Touched, *, withheld: bool) -> None:
        touched.add(name)
        touched.gateway |= self._chains_matter(name) or name in self._own
        (self.withheld.add if withheld else self.withheld.discard)((project, name))
        self._chain(name, self._own.get(name))

    def _chain(self, name: str, domain: Domain | None) -> None:
        """Take note of a domain with a filter chain of its own, which it has not while it is withheld."""
        if domain is None:
            self._own.pop(name, None)
        else:
            self._own[name] = domain
        if domain is not None or name in self.own:
            shown = self._own.items()
            self.own = {n: d for n, d in shown if (d.project, n) not in self.withheld}

    def _domain(self, name: str, project: str, domain: Domain | None, touched: Touched) -> None:
        before = self._chains_matter(name)
        if domain is not None and domain.own_chain:
            self._chain(name, domain)
            self._chained = True
        else:
            self._chain(name, None)
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
        patterns = set(patterns_of(name))
        for route in self.routes.values():
            if not patterns.isdisjoint(route.hosts):
                found = (self.services.get((route.project, name)) for name in route.services)
                yield from (service for service in found if service is not None)
