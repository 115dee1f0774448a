"""Why a connection to a site is up or not: from what is declared to the peer's last word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeward.controller.explain.steps import Step, broken
from edgeward.vpn.heard import STANDBY, Daemon
from edgeward.vpn.status import ENDED, WAITING, Site, Status


def way(site: Site, how: Status, daemons: Sequence[Daemon], declared: float | None) -> Iterator[Step]:
    """Give the steps of a tunnel; ``daemons`` are those of its gateway, ``declared`` since when it is so."""
    connection = site.connection
    subject = f"vpn/{connection.name}"
    if not connection.enabled:
        yield broken("tunnel", subject, how.reason, how.remedy, declared)
    networks = f"{', '.join(connection.local_networks)} to {', '.join(connection.peer_networks)}"
    yield Step("tunnel", subject, detail=networks, since=declared)
    yield from _node(how)
    yield from _daemon(site, how, daemons)
    yield from _peer(site, how)


def _node(how: Status) -> Iterator[Step]:
    if how.node is None:
        yield broken("node", "nodes", how.reason, how.remedy)
        return
    subject = f"nodes/{how.node}"
    if not how.fresh:
        yield broken("node", subject, how.reason, how.remedy, how.heard)
    yield Step("node", subject, detail="carries it", since=how.heard)


def _daemon(site: Site, how: Status, daemons: Sequence[Daemon]) -> Iterator[Step]:
    gateway, daemon = site.gateway, how.daemon
    subject = f"gateways/{gateway.id}"
    troubled = daemon is not None and (daemon.phase == "down" or daemon.reason) and how.phase != "active"
    if daemon is None or troubled or how.phase == WAITING:
        since = None if daemon is None else daemon.since
        reason = how.reason or f"nothing is known of the daemon of gateway {gateway.name}"
        yield broken("daemon", subject, reason, how.remedy or "wait some seconds and ask again", since)
        return
    others = [one.node for one in daemons if one.phase == STANDBY]
    waiting = f", {', '.join(others)} stands by" if others else ""
    runs = how.driver or gateway.driver
    why = f", but {daemon.reason}" if daemon.reason else ""
    detail = f"{runs} of {gateway.name} is {daemon.phase}{waiting}{why}"
    yield Step("daemon", subject, detail=detail, since=daemon.since)


def _peer(site: Site, how: Status) -> Iterator[Step]:
    peer = how.peer_address or site.connection.peer_address
    if how.phase != "active":
        reason = how.reason or f"the tunnel to {peer} is {how.phase}"
        if how.reason == ENDED:
            reason = f"the tunnel to {peer} is {how.phase}: {ENDED}"
        begin = f"edgeward vpn initiate {site.name}, which says why where it does not come up"
        remedy = how.remedy or begin
        if how.phase == "error":
            remedy += f" (edgeward vpn peer-config {site.name} prints what the other side is to have)"
        yield broken("peer", peer, reason, remedy, how.since)
        return
    yield Step("peer", peer, detail=f"keys are agreed on ({how.algorithms or 'IKE'})", since=how.since)
    for child in how.children:
        pair = f"{', '.join(child.local)} to {', '.join(child.peer)}"
        carried = f"{child.bytes_in:,} bytes came, {child.bytes_out:,} went"
        yield Step(
            "keys", pair, detail=f"{child.algorithms}: {carried}".lstrip(": "), since=child.since or None
        )
