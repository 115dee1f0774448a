"""How a gateway's namespace is connected and guarded, in the words that rootd reads; pure.

Spelled in one way, as rootd spells it too: that nothing is to be done is seen by comparing digests.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Literal

from edgeward.vpn.desired import Connection, Gateway

Elsewhere = Literal["drop", "masquerade", "leave"]
_LEAST_MTU, _MOST_MTU = 68, 65_535
"""As rootd takes them; to OpenStack there is no largest."""
_USUAL_MTU: Final = 1500


def namespace(gateway: Gateway) -> str:
    """Give the name of the namespace that a gateway is in."""
    return gateway.namespace or f"vpn-{gateway.id}"


def rehearsing(gateway: str) -> str:
    """Give the name of the one in which another daemon of a gateway, by its id, shows what it takes."""
    return f"vpn-{gateway}-next"


def network(gateway: Gateway) -> str | None:
    """Say how its namespace is to be connected; None: it is somebody else's, who sees to that."""
    if gateway.namespace is not None:
        return None
    outside = gateway.outside
    insides = {
        (f"{one.address}/{ipaddress.ip_network(one.network).prefixlen}", one.bridge or "")
        for one in gateway.inside
    }
    clauses = [
        *(f"outside {address}" for address in outside.addresses),
        *([f"bridge {outside.bridge}"] if outside.addresses and outside.bridge else []),
        *(f"next-hop {address}" for address in outside.next_hops if outside.addresses),
        *([] if outside.addresses else _shared(gateway.connections)),
        *(f"inside {address} {bridge}".rstrip() for address, bridge in sorted(insides)),
        *([] if gateway.active else ["standby"]),
    ]
    return ";".join(clauses)


def _shared(connections: Iterable[Connection]) -> list[str]:
    """Say which address of the host is shared, and with whom: all of them have one local address."""
    ends = {(one.local_address, one.peer_address) for one in connections}
    return [
        *(f"shared {address}" for address in sorted({local for local, _ in ends})),
        *(f"peer {address}" for address in sorted({peer for _, peer in ends})),
    ]


def elsewhere(gateway: Gateway) -> Elsewhere:
    """Say what becomes of what leaves for elsewhere than the tunnels."""
    if gateway.namespace is not None:
        return "leave"
    return "masquerade" if gateway.masquerade else "drop"


def pairs(connections: Iterable[Connection]) -> str:
    """Say which networks tunnels carry, or nothing does: those of disabled ones too."""
    found: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for one in connections:
        mtu = min(one.mtu, _MOST_MTU) if one.mtu >= _LEAST_MTU else _USUAL_MTU
        for local in one.local_networks:
            found[local, mtu].update(peer for peer in one.peer_networks if (":" in peer) == (":" in local))
    return ";".join(
        f"{local} {mtu} {' '.join(_collapsed(peers))}"
        for (local, mtu), peers in sorted(found.items())
        if peers
    )


def _collapsed(networks: Iterable[str]) -> list[str]:
    found = [ipaddress.ip_network(one) for one in networks]
    return [str(one) for one in ipaddress.collapse_addresses(found)]  # type: ignore[type-var] # of one family


def digest(text: str) -> str:
    """Give what rootd says of a text that it has carried out."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
