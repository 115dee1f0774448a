"""Who may do what: pure decisions, deny by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgeward.access.model import EVERY_PROJECT, Principal, Right, Role, Verdict
from edgeward.errors import NotFound, Refused

Action = Literal["create", "change", "delete"]

_RANK: dict[Role, int] = {"node": 0, "viewer": 1, "operator": 2, "admin": 3}
_LEAST: dict[Right, Role] = {
    Right.READ: "viewer",
    Right.CHANGE: "operator",
    Right.ADMINISTER: "admin",
    Right.SURVEY: "viewer",
    Right.GOVERN: "admin",
}
_OF_INSTALLATION = frozenset({Right.SURVEY, Right.GOVERN})
_CHANGES: dict[str, Right] = {
    "listen": Right.GOVERN,
    "cache": Right.GOVERN,
    "budgets": Right.GOVERN,
    "alarms": Right.GOVERN,
    "openresty": Right.GOVERN,
    "issuers": Right.ADMINISTER,
    "domains": Right.CHANGE,
    "withheld": Right.CHANGE,
    "services": Right.CHANGE,
    "routes": Right.CHANGE,
    "tcp_routes": Right.GOVERN,
    "vpn": Right.CHANGE,
    "certificates": Right.CHANGE,
    "networks": Right.CHANGE,
    "subnets": Right.CHANGE,
    "routers": Right.CHANGE,
    "ikepolicies": Right.CHANGE,
    "ipsecpolicies": Right.CHANGE,
    "vpnservices": Right.CHANGE,
    "endpoint_groups": Right.CHANGE,
    "ipsec_site_connections": Right.CHANGE,
}


def decide(who: Principal, right: Right, project: str | None = None, node: str | None = None) -> Verdict:
    """Say whether ``who`` has ``right``; ``project`` None asks whether they have it anywhere at all.

    ``node`` is the node a FOLLOW is about.
    """
    if right is Right.JOIN:
        return _when(who.role == "node" and who.node is None)
    if right is Right.FOLLOW:
        return _when(who.role == "node" and who.node is not None and who.node == node)
    if right not in _LEAST:
        return Verdict.REFUSED
    ranks = who.role != "node" and _RANK[who.role] >= _RANK[_LEAST[right]]
    if right in _OF_INSTALLATION:
        return _when(ranks and who.everywhere)
    if project is not None and not who.sees(project):
        return Verdict.REFUSED if who.role == "node" else Verdict.HIDDEN
    return _when(ranks)


def right_to_change(kind: str) -> Right:
    """Give what is needed to change any object of a kind; GOVERN for kinds nobody thought of."""
    return _CHANGES.get(kind, Right.GOVERN)


def decide_change(
    who: Principal,
    action: Action,
    kind: str,
    project: str,
    privileged: Sequence[str] = (),
    reaching_host: Sequence[str] = (),
) -> Verdict:
    """Say whether ``who`` may change an object.

    ``privileged`` are its fields that only admins may write, ``reaching_host`` those that only admins of
    every project may.
    """
    right = _CHANGES.get(kind)
    if right is None:
        return Verdict.REFUSED
    verdict = decide(who, right, project)
    if verdict is Verdict.ALLOWED and reaching_host and action != "delete":
        return decide(who, Right.GOVERN)
    if verdict is Verdict.ALLOWED and privileged and action != "delete":
        return decide(who, Right.ADMINISTER, project)
    return verdict


def decide_mint(who: Principal, role: Role, project: str) -> Verdict:
    """Say whether ``who`` may make a token: nobody gives more than they have."""
    if project == EVERY_PROJECT or role == "node":
        return decide(who, Right.GOVERN)
    return decide(who, Right.ADMINISTER, project)


def require(who: Principal, right: Right, project: str | None = None, node: str | None = None) -> None:
    """Raise what the verdict means: Refused, or NotFound where even that would tell too much."""
    enforce(decide(who, right, project, node), who, right.value)


def enforce(verdict: Verdict, who: Principal, what: str) -> None:
    if verdict is Verdict.HIDDEN:
        raise NotFound("there is no such object")
    if verdict is Verdict.REFUSED:
        where = "every project" if who.everywhere else f"project {who.project}"
        raise Refused(f"the token '{who.name}' ({who.role} of {where}) may not {what}")


def _when(condition: bool) -> Verdict:
    return Verdict.ALLOWED if condition else Verdict.REFUSED
