"""A service's backends as Envoy endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeward.gateway.envoy.backend_tls import identified, match_id, server_name
from edgeward.gateway.envoy.cluster import owner
from edgeward.gateway.envoy.gateway import cluster_name
from edgeward.gateway.model import Backend, Behind, Service
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_MATCH = "envoy.transport_socket_match"
_FINENESS = 120
"""Weights are multiplied by this, so that the addresses of a name can share its weight in whole numbers."""


_Place = tuple[str, int]
"""An IP address and a port, or the path of a Unix socket and 0."""


def endpoints(
    service: Service, addresses: Mapping[str, Sequence[str]], relays: Mapping[Behind, str] | None = None
) -> Resource:
    """Give a service's endpoints; ``addresses`` holds the permitted addresses of each backend name,
    ``relays`` the sockets of those that lead through tunnels which are up.

    A name without addresses gives no endpoint, nor does a weight of 0; a service without any answers
    503. A backend's weight is shared by the addresses its name has. Hashes are made of the addresses
    alone (ring_hash_lb.cc, maglev_lb.cc), so every node chooses alike.
    """
    name = cluster_name(service.project, service.name)
    found: dict[tuple[_Place, str], Any] = {}
    for backend in (b for b in service.backends if b.weight):
        places = _places(backend, addresses, relays or {})
        for place in places:
            weight = max(1, backend.weight * _FINENESS // len(places))
            found.setdefault((place, match_id(backend)), _endpoint(backend, place, weight))
    return resource(
        m.ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[m.LocalityLbEndpoints(lb_endpoints=list(found.values()))],
        ),
        name,
        owner(service),
    )


def _places(
    backend: Backend, addresses: Mapping[str, Sequence[str]], relays: Mapping[Behind, str]
) -> list[_Place]:
    if backend.behind is not None:
        return [(relays[backend.behind], 0)] if backend.behind in relays else []
    if backend.socket_path is not None:
        return [(backend.socket_path, 0)]
    hosts = [backend.host] if backend.literal else sorted(set(addresses.get(backend.host, ())))
    return [(host, backend.port) for host in hosts]


def _endpoint(backend: Backend, place: _Place, weight: int) -> Any:
    where, port = place
    if port:
        address = m.Address(socket_address=m.SocketAddress(address=where, port_value=port))
    else:
        address = m.Address(pipe=m.Pipe(path=where))
    host = server_name(backend) or "localhost"
    host = f"[{host}]" if ":" in host else host  # RFC 9110 7.2: as in a URL
    endpoint = m.LbEndpoint(
        endpoint=m.Endpoint(
            address=address,
            hostname=host,
            health_check_config=m.Endpoint.HealthCheckConfig(hostname=host),
        ),
        load_balancing_weight=m.UInt32Value(value=weight),
    )
    if backend.uses_tls:
        endpoint.metadata.CopyFrom(m.Metadata(filter_metadata={_MATCH: identified(match_id(backend))}))
    return endpoint
