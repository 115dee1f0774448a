"""Connections as charon is told them, as pure functions.

To charon, connections between the same peers (addresses and ids) are children of one: it could not tell which
of two is meant, and the second would go into the first one's IKE_SA (TS_UNACCEPTABLE).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator, Sequence
from typing import Any, Final

from edgeward.vpn.desired import Certificate, Connection, Dpd, Psk
from edgeward.vpn.drivers.strongswan import identity, proposals

Words = dict[str, Any]
_DPD: Final = {
    "clear": "none", "disabled": "none", "hold": "trap", "restart": "restart", "restart-by-peer": "restart",
}  # fmt: skip


def peers(connection: Connection) -> str:
    """Give the name under which charon knows all connections between these peers."""
    one = connection
    ends = [one.local_address, one.peer_address, *_ids(one)]
    return hashlib.sha256(json.dumps(ends).encode()).hexdigest()[:16]


def children(connection: Connection) -> tuple[str, ...]:
    """Give the names of its children: IKEv1 has one pair of networks in each."""
    pairs = len(connection.local_networks) * len(connection.peer_networks)
    if connection.ike.version == 2 or pairs <= 1:
        return (connection.id,)
    return tuple(f"{connection.id}.{number}" for number in range(pairs))


def connection_of(child: str) -> str:
    """Give the id of the connection that a child belongs to."""
    return child.partition(".")[0]


def spoken(connections: Sequence[Connection], traps: Container[str] | None, *, unique: bool = True) -> Words:
    """Give the message of load-conn for connections between the same peers; the last says what is of all.

    ``traps``: those that traffic may start; None: the kernel has no traps. Not ``unique``: the peer is not
    told that there is no other IKE_SA, upon which it would end what carries before it has another.
    """
    last = connections[-1]
    local, remote = _auth(last)
    over = max(1, last.ike.lifetime // 10)
    # None is left out, which is charon's default
    found: dict[str, Any] = {
        "version": str(last.ike.version),
        "aggressive": "yes" if last.ike.aggressive and last.ike.version == 1 else None,
        "local_addrs": [last.local_address],
        "remote_addrs": [last.peer_address],
        "proposals": [proposals.ike(one) for one in last.ike.proposals],
        "rekey_time": str(last.ike.lifetime - over),
        "over_time": str(over),
        "keyingtries": "0" if last.initiator else "1",
        "mobike": "no",
        "unique": "replace" if unique else "never",
        **_watch(last.dpd, last.ike.version),
        "local": local,
        "remote": remote,
        "children": dict(child for one in connections for child in _children(one, traps)),
    }
    return {peers(last): {key: value for key, value in found.items() if value is not None}}


def shared(connection: Connection, secret: Psk) -> Words:
    """Give the message of load-shared: charon looks a secret up by whose it is."""
    return {
        "id": peers(connection), "type": "IKE", "data": secret.secret.reveal().encode(errors="surrogatepass"),
        "owners": list(_ids(connection)),
    }  # fmt: skip


def _ids(connection: Connection) -> tuple[str, str]:
    one = connection
    return identity.spelled(one.local_id or one.local_address), identity.spelled(
        one.peer_id or one.peer_address
    )


def _auth(connection: Connection) -> tuple[Words, Words]:
    mine, theirs = _ids(connection)
    auth = connection.auth
    if isinstance(auth, Psk):
        return {"auth": "psk", "id": mine}, {"auth": "psk", "id": theirs}
    leaf = pems(auth.chain)[:1]
    authorities = [pem.encode() for pem in pems(auth.authority)]
    return (
        {"auth": "pubkey", "id": mine, "certs": [pem.encode() for pem in leaf]},
        {"auth": "pubkey", "id": theirs, "cacerts": authorities},
    )


def certificates(auth: Certificate) -> Iterator[Words]:
    """Give the messages of load-cert for what stands between the leaf and its authority."""
    for pem in pems(auth.chain)[1:]:
        yield {"type": "X509", "flag": "NONE", "data": pem.encode()}


def pems(text: str) -> tuple[str, ...]:
    """Give each certificate of a PEM text."""
    end = "-----END CERTIFICATE-----"
    return tuple(f"{part.strip()}\n{end}\n" for part in text.split(end)[:-1])


def _watch(dpd: Dpd, version: int) -> Words:
    if dpd.action == "disabled" or not dpd.interval:
        return {"dpd_delay": "0"}
    return {"dpd_delay": str(dpd.interval), "dpd_timeout": str(dpd.timeout) if version == 1 else None}


def _children(connection: Connection, traps: Container[str] | None) -> Iterator[tuple[str, Words]]:
    names, ipsec = children(connection), connection.ipsec
    trap = "trap" if connection.initiator and connection.id in (traps or ()) else "none"
    common = {
        "esp_proposals": [proposals.esp(one) for one in ipsec.proposals],
        "mode": ipsec.mode,
        "life_time": str(ipsec.lifetime),
        "rekey_time": str(ipsec.lifetime - max(1, ipsec.lifetime // 10)),
        "start_action": trap,
        "close_action": "none",
        "dpd_action": _lost(connection, traps is not None),
    }
    if ipsec.protocol == "ah":
        del common["esp_proposals"]
        common["ah_proposals"] = [proposals.ah(one) for one in ipsec.proposals]
    networks = [(list(connection.local_networks), list(connection.peer_networks))]
    if len(names) > 1:
        networks = [
            ([mine], [theirs]) for mine in connection.local_networks for theirs in connection.peer_networks
        ]
    for name, (mine, theirs) in zip(names, networks, strict=True):
        yield name, common | {"local_ts": mine, "remote_ts": theirs}


def _lost(connection: Connection, traps: bool) -> str:
    """Give what to do once the peer is dead: who only answers waits. Where nothing traps, try again."""
    action = _DPD[connection.dpd.action] if connection.initiator else "none"
    return "restart" if action == "trap" and not traps else action
