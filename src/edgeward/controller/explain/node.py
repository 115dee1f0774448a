"""Why a node serves or does not: from its line to the controller to the daemons of its tunnels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeward.controller.explain.facts import NodeView
from edgeward.controller.explain.on_nodes import instant
from edgeward.controller.explain.steps import Step, broken
from edgeward.vpn.heard import Daemon


@dataclass(frozen=True)
class NodeFacts:
    """``node`` is None where none of this name has joined. Times are Unix seconds."""

    name: str
    now: float
    node: NodeView | None = None
    joined: float | None = None
    revision: int = 0
    """The newest one of the store."""
    token: bool = True
    """Whether its token is still good."""
    daemons: Sequence[Daemon] = ()
    rootd: str | None = None
    """Why its rootd does not answer; None: it does."""
    wants_rootd: bool = False
    """Whether something that is declared needs rootd there."""


def way(facts: NodeFacts) -> Iterator[Step]:
    """Give what a node needs, what everything else rests on first."""
    subject, node = f"nodes/{facts.name}", facts.node
    if node is None:
        reason = f"no node named '{facts.name}' has joined"
        remedy = "start it with edgeward node --controller URL --join TOKEN --ca-sha256 HEX"
        yield broken("joined", subject, reason, remedy)
        return
    yield Step("joined", subject, since=facts.joined)
    if not facts.token:
        reason = f"the token of node {facts.name} is revoked or not there any more"
        yield broken("token", subject, reason, f"have it join anew: edgeward delete node {facts.name}")
    if not node.connected:
        reason = f"node {facts.name} is not connected; it serves what it knows, if it runs"
        remedy = "look at its log on that host, and whether it reaches this controller's API"
        yield broken("connected", subject, reason, remedy, node.seen)
    yield Step("connected", subject, detail="follows a controller", since=node.seen)
    yield from _serving(facts, node, subject)
    yield from _rootd(facts, subject)
    yield from _daemons(facts)


def _serving(facts: NodeFacts, node: NodeView, subject: str) -> Iterator[Step]:
    report = node.report
    if report is None:
        reason = f"node {facts.name} has not reported yet"
        yield broken("report", subject, reason, "wait some seconds and ask again")
        return
    since = instant(report.envoy.since)
    if report.envoy.state != "serving":
        reason = f"Envoy is {report.envoy.state} on node {facts.name}"
        yield broken("envoy", subject, reason, "look at Envoy's log on that node", since)
    yield Step("envoy", subject, detail="serving", since=since)
    for rejection in report.rejections:
        reason = f"node {facts.name} refused {rejection.object}: {rejection.message}"
        yield broken("configuration", rejection.object, reason, f"change {rejection.object} and apply again")
    behind = report.received < facts.revision
    text = f"revision {report.revision} in force, of {facts.revision}"
    yield Step("configuration", subject, "unknown" if behind else "ok", text)
    yield Step("certificates", subject, detail=f"{report.certificates} in its sealed copy")
    for key, sentence in report.backends.items():
        reason = f"{key} cannot be reached from node {facts.name}: {sentence}"
        remedy = "see that its backends run, and that their names resolve on that node"
        yield broken("backends", key, reason, remedy)
    yield Step("backends", subject, detail="all services that it serves can be reached")


def _rootd(facts: NodeFacts, subject: str) -> Iterator[Step]:
    if facts.rootd is None:
        yield Step("rootd", subject, detail="answers")
    elif facts.wants_rootd:
        reason = f"node {facts.name} cannot have root do anything: {facts.rootd}"
        yield broken(
            "rootd",
            subject,
            reason,
            "start edgeward rootd on that host, with the node's user; restart one that hangs",
        )
    else:
        yield Step("rootd", subject, "unknown", f"{facts.rootd}; nothing declared needs it")


def _daemons(facts: NodeFacts) -> Iterator[Step]:
    for daemon in sorted(facts.daemons, key=lambda one: one.phase != "down"):
        subject = f"gateways/{daemon.gateway}"
        if daemon.phase == "down":
            reason = f"the daemon of gateway {daemon.gateway} is down: {daemon.reason or 'no reason known'}"
            remedy = "the node starts it again by itself; if it stays down, look at the log of that node"
            yield broken("daemon", subject, reason, remedy, daemon.since)
        yield Step("daemon", subject, detail=daemon.phase, since=daemon.since)
