"""What else there is to say of a name: what does not keep it from being served."""

from __future__ import annotations

from collections.abc import Iterator

from edgeward.certificates.on_demand.ask import place
from edgeward.controller.explain import ordered, traffic
from edgeward.controller.explain.facts import (
    Facts,
    choice_of,
    choice_on,
    connected,
    said,
    serving,
    valid,
)
from edgeward.controller.explain.on_nodes import trouble
from edgeward.gateway.choose import Choice, routes_of_host


def notes(facts: Facts, *, without_sni: bool) -> Iterator[str]:
    choice = choice_of(facts)
    if without_sni:
        yield f"visitors without SNI get the certificate of {facts.name} (listen.default_domain)"
    yield from _of_certificate(facts, choice)
    yield from _of_domain(facts)
    if choice is not None:
        yield from _of_route(facts, choice)
    conditional = [r.name for _, r in routes_of_host(facts.routes, facts.name) if r.headers]
    if conditional:
        yield f"requests with certain headers take another route: {', '.join(conditional[:5])}"
    yield from _of_nodes(facts, choice)


def _of_certificate(facts: Facts, choice: Choice | None) -> Iterator[str]:
    if choice is not None and choice.route.tls == "passthrough":
        yield f"its TLS is passed on unread: visitors see the certificate of service '{choice.route.service}'"
    elif facts.domain is not None and not valid(facts) and facts.order is None and facts.refusal is None:
        yield "its certificate is not there yet: it is made at the first handshake, or soon"
        if facts.domain.ask is not None:
            yield f"before its first certificate {place(facts.domain.ask)} is asked whether it may have one"
    yield from ordered.notes(facts.order, valid=valid(facts))


def _of_domain(facts: Facts) -> Iterator[str]:
    client = facts.domain.client_certificates if facts.domain else None
    if client is not None:
        must, others = ("must", "others") if client.required else ("may", "those with another")
        yield f"visitors {must} show a certificate of its client_certificates.ca; {others} are refused by TLS"
    if facts.domain is not None and facts.domain.hot:
        also = ", and HTTP/3 is offered" if client is None and not facts.listen.proxy_protocol else ""
        yield f"it is hot: TLS sessions are resumed on every node, RSA stands beside ECDSA{also}"


def _of_route(facts: Facts, choice: Choice) -> Iterator[str]:
    if choice.route.redirect is not None:
        yield f"the route redirects, with status {choice.route.redirect.status}"
    yield from traffic.notes(choice)
    for node in facts.nodes:  # of the canary's backends: most visitors do not notice
        for key, sentence in said(node).items():
            if key.removeprefix("services/") == traffic.key(choice):
                yield f"services/{traffic.key(choice)} cannot be reached from node {node.name}: {sentence}"


def _of_nodes(facts: Facts, choice: Choice | None) -> Iterator[str]:
    there = connected(facts)
    for node in there:
        other = choice_on(node, facts)
        if other is not None and choice is not None and other.route is not choice.route:
            yield f"on node {node.name} the route {other.route.project}/{other.route.name} takes it"
    troubles = [found for node in there if (found := trouble(node, facts, choice))]
    if len(troubles) < len(there):
        yield from (found.cause for found in troubles)
    for node in there:
        yield from (f"node {node.name}: {note}" for note in (node.answer.notes if node.answer else ()))
    yield from (f"node {node.name} is not connected" for node in serving(facts) if not node.connected)
    yield from (f"node {node.name} did not answer in time" for node in there if node.answer is None)
