"""Sites that backends are behind: which relays lead into their tunnels, and why one does not; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from edgeward.gateway.model import Behind, Service
from edgeward.node.tunnels.telling import Doing, Doings
from edgeward.vpn.desired import Gateway
from edgeward.vpn.driver import State

NO_RESOLVER: Final = "none"
_WORDS: Final = {
    "connecting": "is being built",
    "down": "is down",
    "disabled": "is disabled",
    "error": "cannot come up as declared",
}


class Site(NamedTuple):
    """One site as its gateway on this node has it. ``trouble``: why nothing goes there; blank: it is up."""

    namespace: str
    resolver: str
    """Address of the DNS server that knows its names, asked through its tunnel; or ``none``."""
    trouble: str = ""


Sites = Mapping[tuple[str, str], Site]
"""By project, and name or id."""


class Relay(NamedTuple):
    """One relay in a tunnel's namespace, as rootd starts it."""

    namespace: str
    address: str
    port: int
    resolver: str

    @property
    def name(self) -> str:
        """What rootd knows it by within its namespace: another one where it leads elsewhere."""
        text = f"{self.address} {self.port} {self.resolver}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """The place of its socket below rootd's ``relays``."""
        return f"{self.namespace}/{self.name}.sock"


def sites(gateways: Iterable[Gateway], doings: Doings) -> Sites:
    """Give the sites of these gateways, by how they do on this node; all are known by their ids too."""
    found = {}
    for gateway in gateways:
        doing = doings.get(gateway.id)
        standing = _standing(doing)
        for connection in gateway.connections:
            project, _, name = connection.name.partition("/")
            state = None if doing is None else doing.states.get(connection.id)
            trouble = standing or _trouble(state)
            namespace = gateway.namespace or f"vpn-{gateway.id}"
            site = Site(namespace, connection.dns or NO_RESOLVER, trouble)
            found[project, name] = found[project, connection.id] = site
    return found


def settled(gateways: Iterable[Gateway], doings: Doings) -> bool:
    """Tell whether it is known of all of them how they do: at a node's start it is not, and their tunnels may
    be up."""
    return all(_is_known(gateway, doings.get(gateway.id)) for gateway in gateways)


def _is_known(gateway: Gateway, doing: Doing | None) -> bool:
    if doing is None or doing.phase in ("down", "standby"):
        return doing is not None
    return all(one.id in doing.states for one in gateway.connections)


def _standing(doing: Doing | None) -> str:
    if doing is None:
        return "is not set up here yet"
    if doing.phase == "standby":
        return "stands by: another node has it active"
    if doing.phase == "down":
        return f"is down: {doing.reason}" if doing.reason else "is down: its daemon does not run"
    return ""


def relay(site: Site, behind: Behind) -> Relay | None:
    """Give the relay that leads to a place behind a site; None where nothing can resolve its name."""
    if not behind.named:
        return Relay(site.namespace, behind.host, behind.port, NO_RESOLVER)
    if site.resolver == NO_RESOLVER:
        return None
    return Relay(site.namespace, behind.host, behind.port, site.resolver)


def behind(service: Service) -> Iterator[Behind]:
    """Give the places of a service that are behind sites, each once."""
    yield from dict.fromkeys(b.behind for b in service.backends if b.behind is not None)


def wanted(services: Iterable[Service], known: Sites) -> frozenset[Relay]:
    """Give the relays that these services need."""
    found = (
        relay(known[service.project, place.site], place)
        for service in services
        for place in behind(service)
        if (service.project, place.site) in known
    )
    return frozenset(one for one in found if one is not None)


def problem(site: Site | None, place: Behind) -> str:
    """Say why nothing leads to a place, as far as its site tells; blank where it does."""
    if site is None:
        return f"this node has no gateway of site {place.site}"
    if site.trouble:
        return f"the tunnel to site {place.site} {site.trouble}"
    if relay(site, place) is None:
        return f"{place.host} is a name, and site {place.site} has no dns server that knows it"
    return ""


def _trouble(state: State | None) -> str:
    if state is None:
        return "is not loaded yet"
    if state.phase == "active":
        return ""
    reason = f": {state.reason}" if state.reason else ""
    return f"{_WORDS[state.phase]}{reason}"
