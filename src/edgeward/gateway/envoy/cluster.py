"""Services as Envoy clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeward.gateway.envoy.backend_tls import plain_socket, transport_sockets
from edgeward.gateway.envoy.gateway import cluster_name
from edgeward.gateway.model import ActiveHealth, Circuit, PassiveHealth, Service
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_BUFFER_BYTES = 32 * 1024
# Envoy's defaults (1,024 each) would answer 503 on a busy edge; the listener's limits bound us instead.
_MOST = 1_000_000
_TUNNEL_JITTER = 0.1


def owner(service: Service) -> str:
    return f"services/{service.project}/{service.name}"


def cluster(service: Service, system_roots: str) -> Resource:
    """Give the cluster of a service; its endpoints come apart, as EDS under the same name."""
    name = cluster_name(service.project, service.name)
    message = m.Cluster(
        name=name,
        type=m.Cluster.EDS,
        eds_cluster_config=m.Cluster.EdsClusterConfig(eds_config=ads()),
        connect_timeout=m.seconds(service.timeouts.connect),
        per_connection_buffer_limit_bytes=m.UInt32Value(value=_BUFFER_BYTES),
        lb_policy=_policy(service),
        # a backend that is no longer declared gets no new request, however well it is
        ignore_health_on_host_removal=True,
        common_lb_config=m.Cluster.CommonLbConfig(healthy_panic_threshold={"value": 0.0}),
        circuit_breakers=_breakers(service.circuit),
        transport_socket=plain_socket(service),
        transport_socket_matches=transport_sockets(service, system_roots),
        typed_extension_protocol_options={_HTTP_OPTIONS: m.packed(_protocol(service))},
    )
    if sites := sorted({b.via for b in service.backends if b.via is not None}):
        message.metadata.CopyFrom(_led_through(sites))
    if service.balance == "ring_hash":
        message.ring_hash_lb_config.CopyFrom(_ring(len(service.backends)))
    if service.health.active is not None:
        message.health_checks.append(_active(service, service.health.active))
    if service.health.passive is not None:
        message.outlier_detection.CopyFrom(_passive(service.health.passive))
    return resource(message, name, owner(service))


def _led_through(sites: Sequence[str]) -> Any:
    """Have the log say of a request which tunnels it was to take (access_log.py)."""
    struct = m.Struct()
    struct.update({"via": ", ".join(sites)})
    return m.Metadata(filter_metadata={"edgeward": struct})


def ads() -> Any:
    return m.ConfigSource(ads=m.AggregatedConfigSource(), resource_api_version=m.ApiVersion.V3)


_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_BALANCE = {
    "round_robin": m.Cluster.ROUND_ROBIN,
    "least_request": m.Cluster.LEAST_REQUEST,
    "random": m.Cluster.RANDOM,
    "ring_hash": m.Cluster.RING_HASH,
    "maglev": m.Cluster.MAGLEV,
}


def _policy(service: Service) -> Any:
    """Envoy's random choice knows no weights; its Maglev table does, and is read at random without a hash."""
    if service.balance == "random" and len({b.weight for b in service.backends}) > 1:
        return m.Cluster.MAGLEV
    return _BALANCE[service.balance]


def _ring(backends: int) -> Any:
    """Give each backend 160 points of the ring, as ketama does; Envoy's least of 1,024 in all would be 2 for
    each of 500. Weights may ask for more points: at most 16 bytes each × 2^20."""
    least = min(max(1024, 160 * backends), 1 << 20)
    return m.Cluster.RingHashLbConfig(
        minimum_ring_size=m.UInt64Value(value=least), maximum_ring_size=m.UInt64Value(value=1 << 20)
    )


def _breakers(circuit: Circuit | None) -> Any:
    most = m.UInt32Value(value=_MOST)
    limits = m.CircuitBreakers.Thresholds(
        max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most
    )
    if circuit is not None:
        limits.max_connections.value = circuit.connections
        limits.max_pending_requests.value = circuit.pending
        limits.max_requests.value = circuit.requests
        limits.max_retries.value = circuit.retries
    return m.CircuitBreakers(thresholds=[limits])


def _protocol(service: Service) -> Any:
    explicit = m.UpstreamHttpOptions.ExplicitHttpConfig()
    if service.backends[0].http2:
        explicit.http2_protocol_options.SetInParent()
    else:
        explicit.http_protocol_options.SetInParent()
    return m.UpstreamHttpOptions(
        explicit_http_config=explicit,
        # An idle connection that the backend has just closed would cost somebody a request: below
        # the 5 s at which Node.js and 60 s at which nginx close theirs, requests rather reconnect.
        common_http_protocol_options=m.HttpProtocolOptions(idle_timeout=m.seconds(4.5)),
    )


def _active(service: Service, health: ActiveHealth) -> Any:
    # a backend behind a site comes with its tunnel, and visitors wait for that
    jitter = _TUNNEL_JITTER if any(b.via for b in service.backends) else 1.0
    check = m.HealthCheck(
        timeout=m.seconds(health.timeout),
        interval=m.seconds(health.interval),
        initial_jitter=m.seconds(min(jitter, health.interval / 2)),
        no_traffic_interval=m.seconds(health.interval),
        healthy_threshold=m.UInt32Value(value=health.healthy),
        unhealthy_threshold=m.UInt32Value(value=health.unhealthy),
    )
    if not service.takes_requests:
        check.tcp_health_check.SetInParent()  # whoever accepts a connection is well
        return check
    low, _, high = health.statuses.partition("-")
    check.http_health_check.CopyFrom(
        m.HealthCheck.HttpHealthCheck(
            host=service.name,
            path=health.path,
            codec_client_type=1 if service.backends[0].http2 else 0,
            expected_statuses=[m.Int64Range(start=int(low), end=int(high or low) + 1)],
        )
    )
    return check


def _passive(health: PassiveHealth) -> Any:
    def number(value: int) -> Any:
        return m.UInt32Value(value=value)

    found = m.OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_gateway_failure=number(health.errors),
        enforcing_consecutive_gateway_failure=number(100),
        consecutive_local_origin_failure=number(health.connect_errors),
        enforcing_consecutive_local_origin_failure=number(100),
        enforcing_consecutive_5xx=number(0),
        enforcing_success_rate=number(0),
        enforcing_local_origin_success_rate=number(0),
        interval=m.seconds(1.0),
        base_ejection_time=m.seconds(health.pause),
        max_ejection_time=m.seconds(max(health.pause, 300.0)),
        max_ejection_percent=number(health.most_percent),
    )
    if health.failure_percent is not None:
        found.interval.CopyFrom(m.seconds(10.0))
        found.failure_percentage_threshold.value = health.failure_percent
        found.enforcing_failure_percentage.value = 100
        found.failure_percentage_minimum_hosts.value = 2
        found.failure_percentage_request_volume.value = 20
    return found
