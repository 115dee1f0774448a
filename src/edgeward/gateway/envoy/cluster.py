"""Services as Envoy clusters, and their backends as endpoints."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from edgeward.gateway.envoy.gateway import cluster_name
from edgeward.gateway.model import ActiveHealth, Backend, PassiveHealth, Service
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_MATCH = "envoy.transport_socket_match"
_BUFFER_BYTES = 32 * 1024
_SAN_DNS, _SAN_IP = m.SubjectAltNameMatcher.DNS, m.SubjectAltNameMatcher.IP_ADDRESS
# Envoy's defaults (1,024 each) would answer 503 on a busy edge; the listener's limits bound us instead.
_MOST = 1_000_000


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
        lb_policy=_BALANCE[service.balance],
        common_lb_config=m.Cluster.CommonLbConfig(healthy_panic_threshold={"value": 0.0}),
        circuit_breakers=_no_breakers(),
        transport_socket_matches=_transport_sockets(service, system_roots),
        typed_extension_protocol_options={_HTTP_OPTIONS: m.packed(_protocol(service))},
    )
    if service.health.active is not None:
        message.health_checks.append(_active(service, service.health.active))
    if service.health.passive is not None:
        message.outlier_detection.CopyFrom(_passive(service.health.passive))
    return resource(message, name, owner(service))


def ads() -> Any:
    return m.ConfigSource(ads=m.AggregatedConfigSource(), resource_api_version=m.ApiVersion.V3)


_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_BALANCE = {"round_robin": m.Cluster.ROUND_ROBIN, "least_request": m.Cluster.LEAST_REQUEST}


def _no_breakers() -> Any:
    most = m.UInt32Value(value=_MOST)
    return m.CircuitBreakers(
        thresholds=[
            m.CircuitBreakers.Thresholds(
                max_connections=most, max_pending_requests=most, max_requests=most, max_retries=most
            )
        ]
    )


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
    low, _, high = health.statuses.partition("-")
    return m.HealthCheck(
        timeout=m.seconds(health.timeout),
        interval=m.seconds(health.interval),
        initial_jitter=m.seconds(min(1.0, health.interval / 2)),
        no_traffic_interval=m.seconds(health.interval),
        healthy_threshold=m.UInt32Value(value=health.healthy),
        unhealthy_threshold=m.UInt32Value(value=health.unhealthy),
        http_health_check=m.HealthCheck.HttpHealthCheck(
            host=service.name,
            path=health.path,
            codec_client_type=1 if service.backends[0].http2 else 0,
            expected_statuses=[m.Int64Range(start=int(low), end=int(high or low) + 1)],
        ),
    )


def _passive(health: PassiveHealth) -> Any:
    def number(value: int) -> Any:
        return m.UInt32Value(value=value)

    return m.OutlierDetection(
        consecutive_gateway_failure=number(health.errors),
        enforcing_consecutive_gateway_failure=number(100),
        enforcing_consecutive_5xx=number(0),
        enforcing_success_rate=number(0),
        interval=m.seconds(1.0),
        base_ejection_time=m.seconds(health.pause),
        max_ejection_time=m.seconds(max(health.pause, 300.0)),
        max_ejection_percent=number(health.most_percent),
    )


# --- TLS to backends ------------------------------------------------------------------------


def _transport_sockets(service: Service, system_roots: str) -> list[Any]:
    """Give one TLS set-up per backend that needs its own; plain backends match none and stay plain."""
    distinct = {_match_id(b): b for b in service.backends if b.uses_tls}
    return [
        m.Cluster.TransportSocketMatch(
            name=identity,
            match=_struct(identity),
            transport_socket=m.TransportSocket(
                name="envoy.transport_sockets.tls",
                typed_config=m.packed(_upstream_tls(backend, system_roots)),
            ),
        )
        for identity, backend in sorted(distinct.items())
    ]


def _match_id(backend: Backend) -> str:
    tls = backend.tls
    ca = "" if tls is None or tls.ca is None else str(hash_of(tls.ca))
    verify = tls is None or tls.verify
    return f"{_server_name(backend)} {ca} {'verified' if verify else 'unverified'}"


def hash_of(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _server_name(backend: Backend) -> str:
    return (backend.tls.server_name if backend.tls else None) or backend.host


def _struct(identity: str) -> Any:
    struct = m.Struct()
    struct.update({"tls": identity})
    return struct


def _upstream_tls(backend: Backend, system_roots: str) -> Any:
    name = _server_name(backend)
    common = m.CommonTlsContext(
        alpn_protocols=["h2"] if backend.http2 else ["http/1.1"],
        tls_params=m.TlsParameters(tls_minimum_protocol_version=m.TlsParameters.TLSv1_2),
    )
    if backend.tls is None or backend.tls.verify:
        ca = backend.tls.ca if backend.tls else None
        source = m.DataSource(inline_string=ca) if ca else m.DataSource(filename=system_roots)
        common.validation_context.CopyFrom(
            m.CertificateValidationContext(
                trusted_ca=source,
                match_typed_subject_alt_names=[
                    m.SubjectAltNameMatcher(
                        san_type=_SAN_IP if _is_ip(name) else _SAN_DNS,
                        matcher=m.StringMatcher(exact=name),
                    )
                ],
            )
        )
    # RFC 6066 3: no literal addresses in SNI
    return m.UpstreamTlsContext(common_tls_context=common, sni="" if _is_ip(name) else name)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# --- endpoints ------------------------------------------------------------------------------


def endpoints(service: Service, addresses: Mapping[str, Sequence[str]]) -> Resource:
    """Give a service's endpoints; ``addresses`` holds the permitted addresses of each backend name.

    A name without addresses gives no endpoint; a service without any answers 503. A backend's weight
    is shared by the addresses its name has.
    """
    name = cluster_name(service.project, service.name)
    found: dict[tuple[str, int, str], Any] = {}
    for backend in service.backends:
        places = [backend.host] if backend.literal else sorted(set(addresses.get(backend.host, ())))
        for place in places:
            weight = max(1, backend.weight * 120 // len(places))
            key = (backend.socket_path or place, backend.port, _match_id(backend))
            found.setdefault(key, _endpoint(backend, place, weight))
    return resource(
        m.ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[m.LocalityLbEndpoints(lb_endpoints=list(found.values()))],
        ),
        name,
        owner(service),
    )


def _endpoint(backend: Backend, place: str, weight: int) -> Any:
    path = backend.socket_path
    if path is not None:
        address = m.Address(pipe=m.Pipe(path=path))
    else:
        address = m.Address(socket_address=m.SocketAddress(address=place, port_value=backend.port))
    host = _server_name(backend) or "localhost"
    endpoint = m.LbEndpoint(
        endpoint=m.Endpoint(
            address=address,
            hostname=host,
            health_check_config=m.Endpoint.HealthCheckConfig(hostname=host),
        ),
        load_balancing_weight=m.UInt32Value(value=weight),
    )
    if backend.uses_tls:
        endpoint.metadata.CopyFrom(m.Metadata(filter_metadata={_MATCH: _struct(_match_id(backend))}))
    return endpoint
