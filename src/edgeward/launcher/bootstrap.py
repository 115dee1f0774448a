"""Envoy's bootstrap as a pure function: where its discovery server and admin sockets are, and what bounds it.

Follows Envoy's "Configuring Envoy as an edge proxy"; listeners, clusters and all else come over discovery.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

XDS_CLUSTER = "edgeward_xds"
_TYPE = "type.googleapis.com/envoy.extensions."


@dataclass(frozen=True)
class Bounds:
    """What all visitors together may use up."""

    connections: int
    heap_bytes: int


def bootstrap(node_name: str, sockets: Path, bounds: Bounds, generation: int = 0) -> dict[str, Any]:
    """Give the bootstrap as JSON data; ``sockets`` is the directory of ``xds.sock`` and ``admin.sock``.

    ``generation`` lets the node tell an Envoy from the one it takes over from.
    """
    return {
        "node": {"id": node_name, "cluster": "edgeward", "metadata": {"generation": str(generation)}},
        "admin": {
            "address": _pipe(sockets / "admin.sock", mode=0o600),
            "ignore_global_conn_limit": True,  # it has to answer when visitors have taken all there is
        },
        "dynamic_resources": _discovery(),
        "static_resources": {"clusters": [_xds_cluster(sockets / "xds.sock")]},
        "overload_manager": _overload_manager(bounds),
        "layered_runtime": {"layers": [{"name": "edgeward", "static_layer": _RUNTIME}]},
        "stats_config": {"stats_matcher": {"exclusion_list": {"patterns": _EXCLUDED_STATS}}},
        "stats_flush_on_admin": True,
    }


_RUNTIME = {
    # Regular expressions are bounded where routes are declared; Envoy's own default of 100 would refuse some.
    "re2.max_program_size.error_level": 1_000_000,
}

# One certificate's own figures cost more memory than the certificate.
_EXCLUDED_STATS = [{"prefix": "sds."}, {"contains": ".ssl.certificate."}]


def _discovery() -> dict[str, Any]:
    # Without a first answer Envoy would count itself ready after 15 s, with nothing to serve: wait for it.
    over_ads = {"resource_api_version": "V3", "ads": {}, "initial_fetch_timeout": "0s"}
    backoff = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}
    return {
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": backoff}}],
        },
        "cds_config": over_ads,
        "lds_config": over_ads,
    }


def _xds_cluster(socket: Path) -> dict[str, Any]:
    keepalive = {"interval": "30s", "timeout": "10s"}
    endpoint = {"endpoint": {"address": _pipe(socket)}}
    return {
        "name": XDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
            }
        },
        "load_assignment": {"cluster_name": XDS_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _overload_manager(bounds: Bounds) -> dict[str, Any]:
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": _HEAP,
                "typed_config": {
                    "@type": _TYPE + "resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": bounds.heap_bytes,
                },
            },
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": _TYPE
                    + "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": bounds.connections,
                },
            },
        ],
        "actions": [
            _at(0.90, "disable_http_keepalive"),
            _at(0.95, "shrink_heap"),
            _at(0.95, "stop_accepting_connections"),
            _at(0.98, "stop_accepting_requests"),
        ],
    }


_HEAP = "envoy.resource_monitors.fixed_heap"


def _at(share: float, action: str) -> dict[str, Any]:
    trigger = {"name": _HEAP, "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{action}", "triggers": [trigger]}


def _pipe(path: Path, mode: int | None = None) -> dict[str, Any]:
    return {"pipe": {"path": str(path)} | ({} if mode is None else {"mode": mode})}
