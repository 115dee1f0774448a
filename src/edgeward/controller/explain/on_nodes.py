"""The way of a visitor on a node: Envoy, what it took of what is declared, and the backends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from edgeward.controller.explain.behind import behind
from edgeward.controller.explain.facts import (
    Facts,
    NodeView,
    choice_of,
    connected,
    not_there,
    said,
    service_of,
    serving,
)
from edgeward.controller.explain.steps import Step, broken, in_the_way, walked
from edgeward.gateway.choose import Choice


def on_nodes(facts: Facts) -> Iterator[Step]:
    """Give the way on the best of the nodes that serve the name."""
    if not facts.nodes:
        yield broken(
            "node", "nodes", "no node has joined", "start one with edgeward up, or edgeward node --join"
        )
        return
    there = connected(facts)
    if not there:
        yield _nowhere(facts)
        return
    choice = choice_of(facts)
    ways = [walked(_on(node, facts, choice)) for node in there]
    yield from next((way for way in ways if in_the_way(way) is None), ways[0])


def trouble(node: NodeView, facts: Facts, choice: Choice | None) -> Step | None:
    """Give what is in the way on one node."""
    return in_the_way(walked(_on(node, facts, choice)))


def _nowhere(facts: Facts) -> Step:
    some = serving(facts)
    if not some:
        return broken(
            "node",
            "nodes",
            f"no node serves it: {not_there(facts.nodes[0], facts)}",
            "label a node (edgeward node label NAME KEY=VALUE), or change nodes of the domain or route",
        )
    seen = [node.seen for node in some if node.seen is not None]
    return broken(
        "node",
        f"nodes/{some[0].name}",
        "no node is connected: whether it is served from their own copies is not known here",
        "see with edgeward status why, and that they reach this controller",
        max(seen, default=None),
    )


def _on(node: NodeView, facts: Facts, choice: Choice | None) -> Iterator[Step]:
    report, subject = node.report, f"nodes/{node.name}"
    if report is None:
        reason = f"node {node.name} has not reported yet"
        yield broken("node", subject, reason, "wait some seconds and ask again")
        return
    yield Step("node", subject, detail=f"connected, revision {report.revision} in force", since=node.seen)
    since = instant(report.envoy.since)
    if report.envoy.state != "serving":
        reason = f"Envoy is {report.envoy.state} on node {node.name}"
        yield broken("envoy", subject, reason, "look at Envoy's log on that node", since)
    keys = _keys(facts, choice)
    for rejection in report.rejections:
        if rejection.object in keys:
            reason = f"node {node.name} refused {rejection.object}: {rejection.message}"
            yield broken("envoy", subject, reason, f"change {rejection.object} and apply again", since)
    yield Step("envoy", subject, detail=f"{report.envoy.version or 'Envoy'} serves", since=since)
    yield from _backends(node, facts, choice)


def _backends(node: NodeView, facts: Facts, choice: Choice | None) -> Iterator[Step]:
    service = service_of(facts, choice)
    if service is None or choice is None:
        return
    troubles = {key: text for key, text in said(node).items() if _is(key, choice)}
    unreached = [_unreached(node, key, text) for key, text in troubles.items()]
    via = [backend.via is not None for backend in service.backends]
    if not any(via):
        yield from unreached
    named = ", ".join(b.url if b.via is None else f"{b.url} via {b.via}" for b in service.backends[:3])
    more = f" and {len(via) - 3} more" if len(via) > 3 else ""
    if node.answer is None:
        yield Step("backend", named + more, "unknown", f"node {node.name} did not answer in time")
    else:
        where = f"behind a site, as node {node.name} has it" if all(via) else f"reached from node {node.name}"
        yield Step("backend", named + more, detail=where)
    if all(via) or troubles:  # else one of the others serves
        yield from behind(service, facts.sites, " ".join(troubles.values()))
    yield from unreached


def _unreached(node: NodeView, key: str, sentence: str) -> Step:
    return broken(
        "backend",
        key if key.startswith("services/") else f"services/{key}",
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


def _is(key: str, choice: Choice) -> bool:
    route = choice.route
    return route.service is not None and key.removeprefix("services/") == f"{route.project}/{route.service}"


def instant(text: str) -> float | None:
    """Give an ISO 8601 instant in Unix seconds; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
