"""The way to a place behind a site: the relay in its tunnel's namespace, the tunnel, and its daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgeward.controller.explain import tunnel
from edgeward.controller.explain.steps import Step, broken, in_the_way, walked
from edgeward.gateway.model import Behind, Service
from edgeward.vpn.heard import Daemon
from edgeward.vpn.status import Site, Status


@dataclass(frozen=True)
class SiteView:
    """A site as far as is known; ``declared``: since when it is so, in Unix seconds."""

    site: Site
    how: Status
    daemons: Sequence[Daemon] = ()
    declared: float | None = None


Sites = Mapping[tuple[str, str], SiteView]
"""By project and name."""


@dataclass(frozen=True)
class RelayFacts:
    """``said``: what nodes say is wrong with services, by key. ``services`` are those that lead there."""

    project: str
    place: Behind
    services: Sequence[Service] = ()
    view: SiteView | None = None
    said: Mapping[str, str] = field(default_factory=dict)


def of_relay(facts: RelayFacts) -> Iterator[Step]:
    """Give the way of a relay by itself, asked for by its site and the place that it leads to."""
    place = facts.place
    subject = f"relays/{place.site}/{place.host}:{place.port}"
    if not facts.services:
        reason = f"no service of project {facts.project} has a backend at {place.host}:{place.port}"
        remedy = f"declare one with url: http://{place.host}:{place.port} and via: {place.site}"
        yield broken("service", subject, f"{reason} via {place.site}", remedy)
    keys = [f"services/{service.project}/{service.name}" for service in facts.services]
    yield Step("service", ", ".join(keys[:3]), detail="leads there")
    said = " ".join(facts.said.get(key, "") for key in keys)
    yield from _to(facts.project, place, facts.view, said)


def behind(service: Service, sites: Sites, said: str) -> Iterator[Step]:
    """Give the way to the backends of a service that are behind sites: to the first that can be reached."""
    places = dict.fromkeys(b.behind for b in service.backends if b.behind is not None)
    ways = [
        walked(_to(service.project, place, sites.get((service.project, place.site)), said))
        for place in places
    ]
    if ways:
        yield from next((way for way in ways if in_the_way(way) is None), ways[0])


def _to(project: str, place: Behind, view: SiteView | None, said: str) -> Iterator[Step]:
    subject = f"relays/{place.site}/{place.host}:{place.port}"
    if view is None:
        reason = f"site {place.site} is not declared in project {project}"
        yield broken("tunnel", f"vpn/{project}/{place.site}", reason, "declare it under vpn")
        return
    way = walked(tunnel.way(view.site, view.how, view.daemons, view.declared))
    where = f"in namespace {view.site.gateway.namespace or f'vpn-{view.site.gateway.id}'}"
    if in_the_way(way) is None and (trouble := _of_relay(place, said)):
        remedy = "see that rootd runs on that node: edgeward explain node/NAME"
        yield broken("relay", subject, trouble, remedy)
    yield Step("relay", subject, detail=where)
    yield from way


def _of_relay(place: Behind, said: str) -> str:
    """Give what a node said of this relay, of all that it said is wrong."""
    marks = (f"no relay to {place.host} port {place.port}", f"{place.host} is a name, and site {place.site}")
    return next((text for text in said.split(". ") if any(mark in text for mark in marks)), "")
