"""What bears on a name, and what follows from it: where it is served, by which route, how backends are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeward.certificates.model import Domain, Summary
from edgeward.certificates.orders.model import Queued
from edgeward.controller.explain.behind import Sites
from edgeward.declaration.feed import Answer, Report
from edgeward.gateway.choose import Choice, choose, routes_of_host
from edgeward.gateway.model import Listen, Route, Service
from edgeward.placement import holds, where
from edgeward.placement import shown as selected


@dataclass(frozen=True)
class NodeView:
    """What is known of a node; ``answer`` is None where it was asked and did not answer."""

    name: str
    connected: bool
    report: Report | None = None
    answer: Answer | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """With its name."""
    seen: float | None = None
    """When it was heard of last, in Unix seconds."""


@dataclass(frozen=True)
class Facts:
    """All that bears on one name, as far as the asker may see it. ``name`` is canonical."""

    name: str
    path: str
    now: float
    scheme: str = "https"
    port: int | None = None
    """That of the URL; None: one of those that are listened on."""
    listen: Listen = field(default_factory=Listen)
    domain: Domain | None = None
    withheld: str | None = None
    """What was deactivated: it, or the wildcard that serves it."""
    without_issuer: str | None = None
    """Why nothing can be issued for the domain, where that is so."""
    refusal: str | None = None
    """Why the domain's ``ask`` lets it have no first certificate."""
    routes: Sequence[Route] = ()
    services: Mapping[tuple[str, str], Service] = field(default_factory=dict)
    certificate: Summary | None = None
    """The stored one that serves the name, expired or not."""
    stored: float | None = None
    """When that was stored, where the history of its name knows it; it begins some minutes before that."""
    order: Queued | None = None
    """Of its certificate, where it is waited for."""
    nodes: Sequence[NodeView] = ()
    sites: Sites = field(default_factory=dict)
    """Those that backends of its service are behind."""
    changed: Mapping[str, float] = field(default_factory=dict)
    """When an object was declared as it is, by key, in Unix seconds."""


def valid(facts: Facts) -> bool:
    """Whether there is a certificate that is good now."""
    return facts.certificate is not None and facts.certificate.not_after > facts.now


# --- where it is served -----------------------------------------------------------------------


def not_there(node: NodeView, facts: Facts) -> str | None:
    """Say why a node does not serve the name by what is declared; None where it does."""
    domain = facts.domain
    if domain is not None and not holds(where(domain.nodes), node.labels):
        return f"the domain {domain.name} is served on other nodes: {selected(domain.nodes or {})}"
    routes = [route for _, route in routes_of_host(facts.routes, facts.name)]
    if routes and not any(holds(where(route.nodes), node.labels) for route in routes):
        others = "; ".join(sorted({selected(route.nodes or {}) for route in routes})[:3])
        return f"its routes are on other nodes: {others}"
    return None


def serving(facts: Facts) -> list[NodeView]:
    return [node for node in facts.nodes if not_there(node, facts) is None]


def connected(facts: Facts) -> list[NodeView]:
    """Give the nodes that serve the name and are connected."""
    return [node for node in serving(facts) if node.connected]


# --- by what ----------------------------------------------------------------------------------


def choice_of(facts: Facts) -> Choice | None:
    """Give the route that the first of the nodes takes that serve the name; of all routes where none does."""
    nodes = connected(facts) or serving(facts)
    return next((choice_on(node, facts) for node in nodes), None) or choose(
        facts.routes, facts.name, facts.path
    )


def choice_on(node: NodeView, facts: Facts) -> Choice | None:
    here = [route for route in facts.routes if holds(where(route.nodes), node.labels)]
    return choose(here, facts.name, facts.path)


def service_of(facts: Facts, choice: Choice | None) -> Service | None:
    if choice is None or choice.route.service is None:
        return None
    return facts.services.get((choice.route.project, choice.route.service))


def said(node: NodeView) -> dict[str, str]:
    """Give what a node says is wrong with services: key → sentence."""
    report = node.report.backends if node.report else {}
    return {**report, **(node.answer.service if node.answer else {})}
