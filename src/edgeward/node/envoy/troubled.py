"""What Envoy does about services in trouble: backends it leaves out, requests over a circuit's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

STATS: Final = (
    r"^cluster\..+\.(outlier_detection\.ejections_active|upstream_rq_pending_overflow"
    r"|upstream_rq_retry_overflow)$"
)
_REASONS: Final = {
    "upstream_rq_pending_overflow": "requests",
    "upstream_rq_retry_overflow": "retries",
}
_EJECTED: Final = ".outlier_detection.ejections_active"
_MOST_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Troubled:
    """``left_out``: ``project/service`` → places of its backends; ``over``: (service, what) → how often."""

    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    over: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def sentences(self) -> dict[str, str]:
        """Give one for each service that does without some of its backends, by its key."""
        return {f"services/{name}": _sentence(places) for name, places in self.left_out.items()}


def _sentence(places: tuple[str, ...]) -> str:
    more = f" and {len(places) - _MOST_SHOWN} more" if len(places) > _MOST_SHOWN else ""
    return f"{', '.join(places[:_MOST_SHOWN])}{more} failed visitors' requests and is left out for a while"


def some_left_out(stats: Mapping[str, int]) -> bool:
    return any(value for name, value in stats.items() if name.endswith(_EJECTED))


def over_limits(stats: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """Give how often each service was over a limit, by what was refused."""
    found = {}
    for name, value in stats.items():
        service, _, figure = name.removeprefix("cluster.").rpartition(".")
        if value and figure in _REASONS:
            found[service, _REASONS[figure]] = value
    return found


def left_out(clusters: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Read Envoy's ``/clusters?format=json`` (envoy.admin.v3.Clusters)."""
    found = {}
    for cluster in clusters.get("cluster_statuses", ()):
        hosts = cluster.get("host_statuses", ())
        out = [_place(h) for h in hosts if h.get("health_status", {}).get("failed_outlier_check")]
        if out:
            found[str(cluster.get("name"))] = tuple(sorted(out))
    return found


def _place(host: Mapping[str, Any]) -> str:
    address = host.get("address", {})
    if "pipe" in address:
        return str(address["pipe"].get("path"))
    socket = address.get("socket_address", {})
    where = str(socket.get("address"))
    return f"[{where}]:{socket.get('port_value')}" if ":" in where else f"{where}:{socket.get('port_value')}"
