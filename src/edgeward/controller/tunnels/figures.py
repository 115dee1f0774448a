"""The figures of tunnels: of every one that is declared, those that are down too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from edgeward.controller.metrics import Metrics
from edgeward.controller.tunnels.states import Tunnels
from edgeward.database.engine import Unreachable
from edgeward.vpn.driver import Keyed
from edgeward.vpn.status import Site, Status

_SUMS: Final[Mapping[str, tuple[str, Callable[[Keyed], int]]]] = {
    "bytes_received": ("Bytes that came through the keys in use", lambda child: child.bytes_in),
    "bytes_sent": ("Bytes that went through the keys in use", lambda child: child.bytes_out),
    "packets_received": ("Packets that came through the keys in use", lambda child: child.packets_in),
    "packets_sent": ("Packets that went through the keys in use", lambda child: child.packets_out),
}


async def tell(metrics: Metrics, tunnels: Tunnels) -> None:
    """Set them all; nothing while the database is lost, or where no tunnel is declared."""
    some = tunnels.known.all()
    try:
        found = (await tunnels.states(some)).values() if some else ()
    except Unreachable:
        return
    named = {f"{site.project}/{site.name}": (site, how) for site, how in found}
    _tell(metrics, named)


def _tell(metrics: Metrics, named: Mapping[str, tuple[Site, Status]]) -> None:
    numbers = metrics.numbers
    up = {name: float(how.up) for name, (_, how) in named.items()}
    numbers("edgeward_tunnel_up", "1 where a declared tunnel is up, else 0", "tunnel", up)
    since = {name: how.since for name, (_, how) in named.items() if how.since is not None}
    text = "Since when it is as it is, in Unix seconds"
    numbers("edgeward_tunnel_since_timestamp_seconds", text, "tunnel", since)
    for key, (text, count) in _SUMS.items():
        sums = {name: float(sum(map(count, how.children))) for name, (_, how) in named.items()}
        numbers(f"edgeward_tunnel_{key}", text, "tunnel", sums)
    phases = Counter[str](how.phase for _, how in named.values())
    numbers("edgeward_tunnels", "Declared tunnels, by phase", "phase", dict(phases))
    daemons = {site.gateway.name: how.daemon for site, how in named.values()}
    running = {name: float(d is not None and d.phase == "running") for name, d in daemons.items()}
    text = "1 where the daemon of a gateway runs and its node is heard of"
    numbers("edgeward_tunnel_gateway_up", text, "gateway", running)
