"""What a change of one connection costs its live traffic, known before it is made."""

from __future__ import annotations

from typing import Final

from edgeward.vpn.desired import Connection, Dpd, Ike, Psk
from edgeward.vpn.driver import Effect

_MILDEST_FIRST: Final[tuple[Effect, ...]] = ("none", "secret", "child", "ike")


def effect(before: Connection | None, after: Connection | None) -> Effect:
    """Give what has to be done anew: ``none`` for one that is new, and ``ike`` for one that goes.

    A new secret shows when the peers authenticate each other: with a new CHILD_SA besides, it takes a new
    IKE_SA to have both.
    """
    if before is None or (after is not None and not before.enabled and not after.enabled):
        return "none"
    if after is None or _peers(before) != _peers(after):
        return "ike"
    found: set[Effect] = {"none"}
    if _secret(before) != _secret(after):
        found.add("secret")
    if _children(before) != _children(after):
        found.add("child")
    return "ike" if len(found) > 2 else max(found, key=_MILDEST_FIRST.index)


def _peers(connection: Connection) -> object:
    """Give what an IKE_SA is made of, and keeps as long as it lives."""
    one = connection
    proof = one.auth.type if isinstance(one.auth, Psk) else one.auth
    ends = (one.local_address, one.peer_address, one.local_id, one.peer_id)
    return one.enabled, ends, _ike(one.ike), _watch(one.dpd, one.ike.version), proof


def _ike(ike: Ike) -> Ike:
    return ike.model_copy(update={"aggressive": ike.aggressive and ike.version == 1})


def _watch(dpd: Dpd, version: int) -> object:
    """Give how an IKE_SA looks after its peer: IKEv2 knows no time-out of its own."""
    if dpd.action == "disabled" or not dpd.interval:
        return None
    return dpd.interval, dpd.timeout if version == 1 else None


def _secret(connection: Connection) -> str | None:
    return connection.auth.secret.reveal() if isinstance(connection.auth, Psk) else None


def _children(connection: Connection) -> object:
    """Give what a CHILD_SA is made of; the order of networks is nobody's."""
    action = connection.dpd.action.removesuffix("-by-peer")
    networks = frozenset(connection.local_networks), frozenset(connection.peer_networks)
    return networks, connection.ipsec, None if action == "disabled" else action
