"""Why a name is served or is not: plain facts in, the way of a visitor out, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from edgeward.certificates.model import UPLOADED, Domain
from edgeward.controller.explain import ordered, shown, traffic
from edgeward.controller.explain import steps as walking
from edgeward.controller.explain.facts import Facts, choice_of, connected, service_of, valid
from edgeward.controller.explain.notes import notes
from edgeward.controller.explain.on_nodes import on_nodes
from edgeward.controller.explain.steps import Step, broken, walked
from edgeward.domain_name import normalise, printable, wildcard_of
from edgeward.errors import Invalid
from edgeward.gateway.choose import Choice, routes_of_host
from edgeward.gateway.model import Address, Listen

NO_SNI: Final = "-"


def visited(asked: str, listen: Listen) -> str | Step:
    """Give the canonical name somebody asks about; ``-`` is whoever sends none."""
    if asked == NO_SNI:
        return listen.default_domain or broken(
            "name",
            "-",
            "visitors without SNI are refused: listen.default_domain is not set",
            "set listen.default_domain to the domain whose certificate they are to get",
        )
    try:
        return normalise(asked)
    except Invalid as error:
        remedy = "ask for a whole domain name such as shop.example, or - for visitors without SNI"
        return broken("name", printable(asked), str(error), remedy)


def refused(asked: str, obstacle: Step) -> dict[str, Any]:
    """Explain a name about which nothing more is to be known."""
    nothing = dict.fromkeys(("domain", "route", "service", "canary", "certificate"))
    return {**_verdict(asked, None, [obstacle]), **nothing, "nodes": [], "notes": []}


def explain(asked: str, facts: Facts) -> dict[str, Any]:
    """Join the facts; ``served`` with how, or the first ``reason`` why not and its ``remedy``."""
    choice = choice_of(facts)
    return {
        **_verdict(asked, facts.name, walked(way(asked, facts))),
        "domain": shown.domain(facts.domain),
        "route": shown.route(choice),
        "service": shown.service(facts, choice),
        "canary": traffic.shown(choice, facts.services) if choice else None,
        "certificate": shown.certificate(facts),
        "nodes": [shown.node(node, facts) for node in facts.nodes],
        "notes": list(notes(facts, without_sni=asked == NO_SNI)),
    }


def _verdict(asked: str, name: str | None, steps: Sequence[Step]) -> dict[str, Any]:
    found = walking.verdict(printable(asked), "name", steps)
    return {"asked": found.pop("asked"), "name": name, "served": found["well"], **found}


# --- the way of a visitor ---------------------------------------------------------------------


def way(asked: str, facts: Facts) -> Iterator[Step]:
    """Give what a visitor meets, in that order."""
    choice = choice_of(facts)
    yield Step("name", facts.name, detail="visitors without SNI" if asked == NO_SNI else "")
    yield _listener(facts)
    if facts.scheme == "https" or choice is None or choice.route.http != "serve":
        yield _policy(facts)
        yield _certificate(facts)
    yield _route(facts, choice)
    if choice is not None and choice.route.service is not None:
        yield _service(facts, choice)
    yield from on_nodes(facts)


def _listener(facts: Facts) -> Step:
    listen, scheme = facts.listen, facts.scheme
    addresses = [a for one in (listen, *listen.nodes.values()) for a in getattr(one, scheme) or ()]
    since = facts.changed.get("listen/default/listen")
    if not addresses:
        reason = f"nothing listens for {scheme.upper()}: listen.{scheme} is empty"
        port = {"https": 8443, "http": 8080}[scheme]
        remedy = f'set listen.{scheme}, for example to "0.0.0.0:{port}"'
        return broken("listener", "listen", reason, remedy, since)
    ports = sorted({Address.parse(address).port for address in addresses})
    if facts.port is not None and facts.port not in ports:
        reason = f"nothing listens on port {facts.port} for {scheme.upper()}, but on {_listed(ports)}"
        remedy = f"visit one of these, or add port {facts.port} to listen.{scheme}"
        return broken("listener", "listen", reason, remedy, since)
    return Step("listener", "listen", detail=f"{scheme} on {_listed(addresses)}", since=since)


def _policy(facts: Facts) -> Step:
    domain = facts.domain
    if domain is None:
        return _uncovered(facts.name)
    subject = f"domains/{domain.project}/{domain.name}"
    since = facts.changed.get(subject)
    if facts.withheld:
        reason = f"{facts.name} is deactivated: no certificate of it is served"
        return broken("policy", subject, reason, f"edgeward certificates activate {facts.withheld}", since)
    if facts.without_issuer is not None and not (domain.issuer == UPLOADED and valid(facts)):
        return broken("policy", subject, *_without_issuer(facts.without_issuer, domain), since)
    if facts.refusal is not None:
        remedy = "have that URL answer 200, or declare the name as a domain of its own"
        return broken("policy", subject, facts.refusal, remedy, since)
    how = "on demand" if domain.on_demand else "eager"
    return Step("policy", subject, detail=f"issuer {domain.issuer}, {how}", since=since)


def _uncovered(name: str) -> Step:
    wildcard = wildcard_of(name)
    either = f", or {wildcard}," if wildcard else ""
    return broken("policy", "domains", f"no domain covers {name}", f"declare {name}{either} under domains")


def _without_issuer(reason: str, domain: Domain) -> tuple[str, str]:
    if domain.issuer == UPLOADED:
        remedy = f"edgeward certificates upload {domain.name} --cert FILE --key FILE"
        return "no valid certificate was uploaded, and nobody issues one", remedy
    reason, _, remedy = reason.partition("; ")
    return reason, remedy or f"declare the issuer '{domain.issuer}', or use local"


def _certificate(facts: Facts) -> Step:
    found = facts.certificate
    if found is not None and valid(facts):
        ends = datetime.fromtimestamp(found.not_after, UTC).isoformat(timespec="minutes")
        tiers = [f"{n.name}: {n.answer.tier}" for n in connected(facts) if n.answer is not None]
        tier = f", found on {_listed(tiers)}" if tiers else ""
        subject = f"certificates/{found.name}"
        return Step("certificate", subject, detail=f"until {ends}{tier}", since=facts.stored)
    if (failure := ordered.failure(facts.order)) is not None:
        since = None if facts.order is None else facts.order.queued
        return broken("certificate", f"orders/{facts.name}", *failure, since)
    waits = "is being ordered" if facts.order is not None else "is made at the first handshake"
    return Step("certificate", f"certificates/{facts.name}", detail=waits)


def _route(facts: Facts, choice: Choice | None) -> Step:
    if choice is None:
        return _unrouted(facts)
    route = choice.route
    subject = f"routes/{route.project}/{route.name}"
    if facts.scheme == "http" and route.http == "refuse":
        reason = f"{subject} refuses plain HTTP: visitors get 404"
        remedy = "visit it with https://, or set http: redirect in that route"
        return broken("route", subject, reason, remedy, facts.changed.get(subject))
    detail = f"{choice.host} {choice.path} takes GET {printable(facts.path)}"
    return Step("route", subject, detail=detail, since=facts.changed.get(subject))


def _unrouted(facts: Facts) -> Step:
    routes = routes_of_host(facts.routes, facts.name)
    if not routes:
        return broken(
            "route",
            "routes",
            f"no route leads {facts.name} anywhere: visitors get 404",
            f"declare a route with hosts: [{facts.name}] and a service",
        )
    _, first = routes[0]
    subject = f"routes/{first.project}/{first.name}"
    reason = f"no route of {facts.name} takes GET {printable(facts.path)}: visitors get 404 there"
    remedy = f"let {subject} take it (paths now: {', '.join(first.paths[:5])})"
    return broken("route", subject, reason, remedy, facts.changed.get(subject))


def _service(facts: Facts, choice: Choice) -> Step:
    key = f"services/{choice.route.project}/{choice.route.service}"
    found = service_of(facts, choice)
    if found is None:
        return broken("service", key, f"{key} is not declared: visitors get 503", f"declare {key}")
    backends = "1 backend" if len(found.backends) == 1 else f"{len(found.backends)} backends"
    return Step("service", key, detail=backends, since=facts.changed.get(key))


def _listed(some: Sequence[object]) -> str:
    more = f" and {len(some) - 3} more" if len(some) > 3 else ""
    return ", ".join(str(one) for one in some[:3]) + more
