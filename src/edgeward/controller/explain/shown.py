"""The parts of an explanation of a name, as JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from edgeward.certificates.model import UPLOADED, Domain
from edgeward.certificates.policy import certificate_for
from edgeward.controller.explain.facts import Facts, NodeView, not_there, service_of, valid
from edgeward.gateway.choose import Choice


def domain(found: Domain | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "name": found.name,
        "project": found.project,
        "issuer": found.issuer,
        "on_demand": found.on_demand,
    }


def route(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    found = choice.route
    redirect = found.redirect.model_dump(mode="json", exclude_none=True) if found.redirect else None
    return {
        "name": found.name,
        "project": found.project,
        "host": choice.host,
        "path": choice.path,
        "service": found.service,
        "redirect": redirect,
    }


def service(facts: Facts, choice: Choice | None) -> dict[str, Any] | None:
    found = service_of(facts, choice)
    if found is None:
        return None
    backends = [backend.url for backend in found.backends[:20]]
    return {"name": found.name, "project": found.project, "backends": backends}


def certificate(facts: Facts) -> dict[str, Any] | None:
    if facts.domain is None:
        return None
    found = facts.certificate
    if found is None or not valid(facts):
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


def node(view: NodeView, facts: Facts) -> dict[str, Any]:
    answer = view.answer
    why_not = not_there(view, facts)
    return {
        "name": view.name,
        "connected": view.connected,
        "selected": why_not is None,
        "why_not": why_not,
        "envoy": view.report.envoy.state if view.report else None,
        "tier": answer.tier if answer else None,
        "not_after": answer.not_after if answer else None,
        "fingerprint": answer.fingerprint if answer else None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
