"""Why an action of root can be run or not: from the API to the table of a node's rootd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeward.controller.explain.facts import NodeView
from edgeward.controller.explain.steps import Step, broken


@dataclass(frozen=True)
class ActionFacts:
    """``node`` is the one that is meant, None where none of that name, or none at all, has joined."""

    name: str
    asked_node: str | None = None
    node: NodeView | None = None
    nodes: Sequence[str] = ()
    came: Mapping[str, Any] | None = None
    """What its rootd said when it was asked which actions it would run; None: the node did not answer."""
    role: str = ""
    last_asked: float | None = None
    """When the API passed it on last, in Unix seconds."""


def way(facts: ActionFacts) -> Iterator[Step]:
    yield from _node(facts)
    assert facts.node is not None  # else the way has ended
    subject = f"nodes/{facts.node.name}"
    came = facts.came
    if came is None:
        reason = f"node {facts.node.name} did not answer"
        yield broken("rootd", subject, reason, "ask again; see with edgeward status whether it is connected")
        return
    if "actions" not in came:
        reason = f"rootd of node {facts.node.name} does not answer: {came.get('reason', came.get('outcome'))}"
        remedy = "start edgeward rootd on that host with the node's user, or look at its log there"
        yield broken("rootd", subject, reason, remedy)
        return
    yield Step("rootd", subject, detail="answers")
    yield from _table(facts, came["actions"])


def _node(facts: ActionFacts) -> Iterator[Step]:
    if facts.node is None and facts.asked_node is None and len(facts.nodes) > 1:
        some = ", ".join(facts.nodes[:5])
        reason = f"there are several nodes, and each has actions of its own: {some}"
        yield broken("node", "nodes", reason, "say which one is meant with --node NAME")
        return
    if facts.node is None:
        reason = (
            f"no node named '{facts.asked_node}' has joined" if facts.asked_node else "no node has joined"
        )
        yield broken("node", "nodes", reason, "start one with edgeward up, or edgeward node --join")
        return
    subject = f"nodes/{facts.node.name}"
    if not facts.node.connected:
        reason = f"node {facts.node.name} is not connected: nobody can pass the action on"
        remedy = "see that it runs and reaches this controller, or run it on that host: edgeward action run"
        yield broken("node", subject, reason, remedy, facts.node.seen)
        return
    yield Step("node", subject, detail="connected", since=facts.node.seen)


def _table(facts: ActionFacts, actions: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    found = next((one for one in actions if one.get("name") == facts.name), None)
    subject = f"actions/{facts.name}"
    if found is None:
        allowed = ", ".join(str(one.get("name")) for one in actions[:5]) or "none"
        yield broken(
            "action",
            subject,
            f"rootd has no action '{facts.name}' that it would run for you ({facts.role}); it has: {allowed}",
            "write it into a file of root's on that host, or allow your role in it; a file that is wrong is"
            " named in rootd's log there",
        )
        return
    values = ", ".join(sorted(found.get("values") or {})) or "none"
    detail = f"{found.get('description') or 'may be run'}; values: {values}"
    yield Step("action", subject, detail=detail, since=facts.last_asked)
