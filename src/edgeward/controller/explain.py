"""Why a name is served or is not: plain facts in, the first thing in the way and its remedy out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from edgeward.certificates.ask import place
from edgeward.certificates.model import UPLOADED, Domain, Summary
from edgeward.certificates.orders import Queued
from edgeward.certificates.policy import certificate_for
from edgeward.controller import awaited, traffic
from edgeward.declaration.feed import Answer, Report
from edgeward.domain_name import normalise, printable, wildcard_of
from edgeward.errors import Invalid
from edgeward.gateway.choose import Choice, choose, routes_of_host
from edgeward.gateway.model import Listen, Route, Service
from edgeward.placement import holds, where
from edgeward.placement import shown as selected

NO_SNI: Final = "-"


@dataclass(frozen=True)
class Obstacle:
    """What is in a visitor's way, and what to do about it, in one sentence each."""

    reason: str
    remedy: str


@dataclass(frozen=True)
class NodeView:
    """What is known of a node; ``answer`` is None where it was asked and did not answer."""

    name: str
    connected: bool
    report: Report | None = None
    answer: Answer | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """With its name."""


@dataclass(frozen=True)
class Facts:
    """All that bears on one name, as far as the asker may see it. ``name`` is canonical."""

    name: str
    path: str
    now: float
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
    order: Queued | None = None
    """Of its certificate, where it is waited for."""
    nodes: Sequence[NodeView] = ()


def visited(asked: str, listen: Listen) -> str | Obstacle:
    """Give the canonical name somebody asks about; ``-`` is whoever sends none."""
    if asked == NO_SNI:
        return listen.default_domain or Obstacle(
            "visitors without SNI are refused: listen.default_domain is not set",
            "set listen.default_domain to the domain whose certificate they are to get",
        )
    try:
        return normalise(asked)
    except Invalid as error:
        return Obstacle(
            str(error), "ask for a whole domain name such as shop.example, or - for visitors without SNI"
        )


def refused(asked: str, obstacle: Obstacle) -> dict[str, Any]:
    """Explain a name about which nothing more is to be known."""
    return {
        "asked": printable(asked),
        "name": None,
        "served": False,
        "reason": obstacle.reason,
        "remedy": obstacle.remedy,
        "domain": None,
        "route": None,
        "service": None,
        "canary": None,
        "certificate": None,
        "nodes": [],
        "notes": [],
    }


def explain(asked: str, facts: Facts) -> dict[str, Any]:
    """Join the facts; ``served`` with how, or the first ``reason`` why not and its ``remedy``."""
    choice = _choice(facts)
    obstacle = next(_obstacles(facts, choice), None)
    return {
        "asked": printable(asked),
        "name": facts.name,
        "served": obstacle is None,
        "reason": obstacle.reason if obstacle else None,
        "remedy": obstacle.remedy if obstacle else None,
        "domain": _domain(facts.domain),
        "route": _route(choice),
        "service": _service(facts, choice),
        "canary": traffic.shown(choice, facts.services) if choice else None,
        "certificate": _certificate(facts),
        "nodes": [_node(node, facts) for node in facts.nodes],
        "notes": list(_notes(asked, facts, choice)),
    }


# --- where it is served -----------------------------------------------------------------------


def _not_there(node: NodeView, facts: Facts) -> str | None:
    """Say why a node does not serve the name by what is declared; None where it does."""
    domain = facts.domain
    if domain is not None and not holds(where(domain.nodes), node.labels):
        return f"the domain {domain.name} is served on other nodes: {selected(domain.nodes or {})}"
    routes = [route for _, route in routes_of_host(facts.routes, facts.name)]
    if routes and not any(holds(where(route.nodes), node.labels) for route in routes):
        others = "; ".join(sorted({selected(route.nodes or {}) for route in routes})[:3])
        return f"its routes are on other nodes: {others}"
    return None


def _serving(facts: Facts) -> list[NodeView]:
    return [node for node in facts.nodes if _not_there(node, facts) is None]


def _choice(facts: Facts) -> Choice | None:
    """Give the route that the first of the nodes takes that serve the name; of all routes where none does."""
    return next((_choice_of(node, facts) for node in _connected(facts)), None) or choose(
        facts.routes, facts.name, facts.path
    )


def _choice_of(node: NodeView, facts: Facts) -> Choice | None:
    here = [route for route in facts.routes if holds(where(route.nodes), node.labels)]
    return choose(here, facts.name, facts.path)


def _connected(facts: Facts) -> list[NodeView]:
    """Give the nodes that serve the name, those that are connected if any is."""
    serving = _serving(facts)
    return [node for node in serving if node.connected] or serving


# --- what is in the way -----------------------------------------------------------------------


def _obstacles(facts: Facts, choice: Choice | None) -> Iterator[Obstacle]:
    """Give what is in a visitor's way, in the order in which the visitor meets it."""
    if not (facts.listen.https or any(own.https for own in facts.listen.nodes.values())):
        yield Obstacle(
            "nothing listens for HTTPS: listen.https is empty",
            'set listen.https, for example to "0.0.0.0:8443"',
        )
    if facts.domain is None:
        yield _uncovered(facts.name)
    elif facts.withheld:
        yield Obstacle(
            f"{facts.name} is deactivated: no certificate of it is served",
            f"edgeward certificates activate {facts.withheld}",
        )
    elif facts.without_issuer is not None and not (facts.domain.issuer == UPLOADED and _valid(facts)):
        yield _without_issuer(facts.without_issuer, facts.domain)
    elif facts.refusal is not None:
        yield Obstacle(facts.refusal, "have that URL answer 200, or declare the name as a domain of its own")
    elif not _valid(facts) and (failure := awaited.failure(facts.order)) is not None:
        yield Obstacle(*failure)
    if choice is None:
        yield _unrouted(facts)
    elif choice.route.service is not None and _service_of(facts, choice) is None:
        key = f"services/{choice.route.project}/{choice.route.service}"
        yield Obstacle(f"{key} is not declared: visitors get 503", f"declare {key}")
    yield from _on_nodes(facts, choice)


def _without_issuer(reason: str, domain: Domain) -> Obstacle:
    if domain.issuer == UPLOADED:
        remedy = f"edgeward certificates upload {domain.name} --cert FILE --key FILE"
        return Obstacle("no valid certificate was uploaded, and nobody issues one", remedy)
    reason, _, remedy = reason.partition("; ")
    return Obstacle(reason, remedy or f"declare the issuer '{domain.issuer}', or use local")


def _uncovered(name: str) -> Obstacle:
    wildcard = wildcard_of(name)
    either = f", or {wildcard}," if wildcard else ""
    return Obstacle(f"no domain covers {name}", f"declare {name}{either} under domains")


def _unrouted(facts: Facts) -> Obstacle:
    routes = routes_of_host(facts.routes, facts.name)
    if not routes:
        return Obstacle(
            f"no route leads {facts.name} anywhere: visitors get 404",
            f"declare a route with hosts: [{facts.name}] and a service",
        )
    _, first = routes[0]
    return Obstacle(
        f"no route of {facts.name} takes GET {printable(facts.path)}: visitors get 404 there",
        f"let routes/{first.project}/{first.name} take it (paths now: {', '.join(first.paths[:5])})",
    )


def _on_nodes(facts: Facts, choice: Choice | None) -> Iterator[Obstacle]:
    if not facts.nodes:
        yield Obstacle("no node has joined", "start one with edgeward up, or edgeward node --join")
    serving = _serving(facts)
    if facts.nodes and not serving:
        yield Obstacle(
            f"no node serves it: {_not_there(facts.nodes[0], facts)}",
            "label a node (edgeward node label NAME KEY=VALUE), or change nodes of the domain or route",
        )
    connected = [node for node in serving if node.connected]
    if serving and not connected:
        yield Obstacle(
            "no node is connected: whether it is served from their own copies is not known here",
            "see with edgeward status why, and that they reach this controller",
        )
    troubles = [next(_troubles(node, facts, choice), None) for node in connected]
    if troubles and None not in troubles and troubles[0] is not None:
        yield troubles[0]


def _troubles(node: NodeView, facts: Facts, choice: Choice | None) -> Iterator[Obstacle]:
    """Give what is in the way on one node."""
    report = node.report
    if report is None:
        yield Obstacle(f"node {node.name} has not reported yet", "wait some seconds and ask again")
        return
    if report.envoy.state != "serving":
        yield Obstacle(
            f"Envoy is {report.envoy.state} on node {node.name}", "look at Envoy's log on that node"
        )
    keys = _keys(facts, choice)
    for rejection in report.rejections:
        if rejection.object in keys:
            yield Obstacle(
                f"node {node.name} refused {rejection.object}: {rejection.message}",
                f"change {rejection.object} and apply again",
            )
    for key, sentence in _said(node).items():
        if _same_service(key, choice):
            yield Obstacle(
                f"{key} cannot be reached from node {node.name}: {sentence}",
                "see that its backends run, and that their names resolve on that node",
            )


def _keys(facts: Facts, choice: Choice | None) -> set[str]:
    keys = {"listen", "listen/default/listen"}
    if facts.domain is not None:
        keys.add(f"domains/{facts.domain.project}/{facts.domain.name}")
    if choice is not None:
        route = choice.route
        keys |= {f"routes/{route.project}/{route.name}", f"services/{route.project}/{route.service}"}
    return keys


def _same_service(key: str, choice: Choice | None) -> bool:
    if choice is None or choice.route.service is None:
        return False
    return key.removeprefix("services/") == f"{choice.route.project}/{choice.route.service}"


# --- what is shown ----------------------------------------------------------------------------


def _notes(asked: str, facts: Facts, choice: Choice | None) -> Iterator[str]:
    if asked == NO_SNI:
        yield f"visitors without SNI get the certificate of {facts.name} (listen.default_domain)"
    if choice is not None and choice.route.tls == "passthrough":
        yield f"its TLS is passed on unread: visitors see the certificate of service '{choice.route.service}'"
    elif facts.domain is not None and not _valid(facts) and facts.order is None and facts.refusal is None:
        yield "its certificate is not there yet: it is made at the first handshake, or soon"
        if facts.domain.ask is not None:
            yield f"before its first certificate {place(facts.domain.ask)} is asked whether it may have one"
    yield from awaited.notes(facts.order, valid=_valid(facts))
    client = facts.domain.client_certificates if facts.domain else None
    if client is not None:
        must, others = ("must", "others") if client.required else ("may", "those with another")
        yield f"visitors {must} show a certificate of its client_certificates.ca; {others} are refused by TLS"
    if facts.domain is not None and facts.domain.hot:
        also = ", and HTTP/3 is offered" if client is None and not facts.listen.proxy_protocol else ""
        yield f"it is hot: TLS sessions are resumed on every node, RSA stands beside ECDSA{also}"
    if choice is not None and choice.route.redirect is not None:
        yield f"the route redirects, with status {choice.route.redirect.status}"
    if choice is not None:
        yield from traffic.notes(choice)
        yield from _of_canary(facts, choice)
    conditional = [r.name for _, r in routes_of_host(facts.routes, facts.name) if r.headers]
    if conditional:
        yield f"requests with certain headers take another route: {', '.join(conditional[:5])}"
    serving = _serving(facts)
    connected = [node for node in serving if node.connected]
    for node in connected:
        other = _choice_of(node, facts)
        if other is not None and choice is not None and other.route is not choice.route:
            yield f"on node {node.name} the route {other.route.project}/{other.route.name} takes it"
    troubles = [trouble for node in connected if (trouble := next(_troubles(node, facts, choice), None))]
    if len(troubles) < len(connected):
        yield from (trouble.reason for trouble in troubles)
    for node in connected:
        yield from (f"node {node.name}: {note}" for note in (node.answer.notes if node.answer else ()))
    yield from (f"node {node.name} is not connected" for node in serving if not node.connected)
    yield from (f"node {node.name} did not answer in time" for node in connected if node.answer is None)


def _of_canary(facts: Facts, choice: Choice) -> Iterator[str]:
    """Give what is wrong with the canary's backends: most visitors do not notice."""
    for node in facts.nodes:
        for key, sentence in _said(node).items():
            if key.removeprefix("services/") == traffic.key(choice):
                yield f"services/{traffic.key(choice)} cannot be reached from node {node.name}: {sentence}"


def _said(node: NodeView) -> dict[str, str]:
    """Give what a node says is wrong with services: key → sentence."""
    report = node.report.backends if node.report else {}
    return {**report, **(node.answer.service if node.answer else {})}


def _valid(facts: Facts) -> bool:
    return facts.certificate is not None and facts.certificate.not_after > facts.now


def _domain(domain: Domain | None) -> dict[str, Any] | None:
    if domain is None:
        return None
    return {
        "name": domain.name,
        "project": domain.project,
        "issuer": domain.issuer,
        "on_demand": domain.on_demand,
    }


def _route(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    route = choice.route
    redirect = route.redirect.model_dump(mode="json", exclude_none=True) if route.redirect else None
    return {
        "name": route.name,
        "project": route.project,
        "host": choice.host,
        "path": choice.path,
        "service": route.service,
        "redirect": redirect,
    }


def _service_of(facts: Facts, choice: Choice | None) -> Service | None:
    if choice is None or choice.route.service is None:
        return None
    return facts.services.get((choice.route.project, choice.route.service))


def _service(facts: Facts, choice: Choice | None) -> dict[str, Any] | None:
    service = _service_of(facts, choice)
    if service is None:
        return None
    backends = [backend.url for backend in service.backends[:20]]
    return {"name": service.name, "project": service.project, "backends": backends}


def _certificate(facts: Facts) -> dict[str, Any] | None:
    if facts.domain is None:
        return None
    found = facts.certificate
    if found is None or not _valid(facts):
        return {"name": certificate_for(facts.name, facts.domain), "stored": False}
    return {
        "name": found.name,
        "stored": True,
        "issuer": found.issuer,
        "not_after": _time(found.not_after),
        "renew_at": None if found.source == UPLOADED else _time(found.renew_at),
        "fingerprint": found.fingerprint,
        "source": found.source,
    }


def _node(node: NodeView, facts: Facts) -> dict[str, Any]:
    answer = node.answer
    why_not = _not_there(node, facts)
    return {
        "name": node.name,
        "connected": node.connected,
        "selected": why_not is None,
        "why_not": why_not,
        "envoy": node.report.envoy.state if node.report else None,
        "tier": answer.tier if answer else None,
        "not_after": answer.not_after if answer else None,
        "fingerprint": answer.fingerprint if answer else None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
