"""Bytes passed on unread: TLS chosen by its server name, and ports of their own."""

from __future__ import annotations

import hashlib
from typing import Any

from edgeward.gateway.envoy import access_log, proxied
from edgeward.gateway.envoy.chains import passing_chain
from edgeward.gateway.envoy.gateway import Gateway, cluster_name
from edgeward.gateway.envoy.names import NOBODY, chain
from edgeward.gateway.model import Address, Service, TcpRoute, Timeouts
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_BUFFER_BYTES = 32 * 1024
_CHAIN = "streams"


def passthrough_chains(gateway: Gateway) -> list[Any]:
    """Give a filter chain for each service that TLS is passed through to."""
    found = {passing_chain(r): r for r in gateway.routes if r.tls == "passthrough"}
    services = {(s.project, s.name): s for s in gateway.services}
    chains = []
    for name, route in sorted(found.items()):
        service = services.get((route.project, str(route.service)))
        timeouts = route.timeouts or (service.timeouts if service else Timeouts())
        proxy = _proxy(route.project, str(route.service), timeouts, service, gateway.listen.access_log)
        chains.append(m.FilterChain(name=name, filters=[proxy]))
    return chains


def tcp_listeners(gateway: Gateway) -> tuple[Resource, ...]:
    """Give one listener for each address of each TCP route."""
    services = {(s.project, s.name): s for s in gateway.services}
    return tuple(
        _listener(route, text, services.get((route.project, route.service)), gateway.listen.access_log)
        for route in gateway.tcp_routes
        for text in route.listen
    )


def _listener(route: TcpRoute, text: str, service: Service | None, log: str) -> Resource:
    address = Address.parse(text)
    name = f"tcp {address}"
    timeouts = service.timeouts if service else Timeouts()
    label = hashlib.sha256(f"{route.project}/{route.name} {address}".encode()).hexdigest()[:16]
    message = m.Listener(
        name=name,
        address=m.Address(socket_address=m.SocketAddress(address=address.host, port_value=address.port)),
        stat_prefix="tcp",
        per_connection_buffer_limit_bytes=m.UInt32Value(value=_BUFFER_BYTES),
        listener_filters_timeout=m.seconds(10.0),
        filter_chains=[
            m.FilterChain(
                name=_CHAIN,
                filters=[
                    _limit(route, label),
                    _proxy(route.project, route.service, timeouts, service, log),
                ],
            )
        ],
    )
    if route.proxy_protocol:
        message.listener_filters.extend(proxied.listener_filters())
        matcher = proxied.believed(route.proxy_protocol, chain(_CHAIN), chain(NOBODY)).matcher
        message.filter_chain_matcher.CopyFrom(matcher)
    return resource(message, name, f"tcp_routes/{route.project}/{route.name}")


def _limit(route: TcpRoute, label: str) -> Any:
    limit = m.ConnectionLimit(
        stat_prefix=f"tcp_{label}", max_connections=m.UInt64Value(value=route.most_connections)
    )
    return m.Filter(name="envoy.filters.network.connection_limit", typed_config=m.packed(limit))


def _proxy(project: str, service: str, timeouts: Timeouts, found: Service | None, log: str) -> Any:
    attempts = 1 + (found.retries.attempts if found else 0)
    proxy = m.TcpProxy(
        stat_prefix="stream",
        cluster=cluster_name(project, service),
        idle_timeout=m.seconds(timeouts.idle),
        max_connect_attempts=m.UInt32Value(value=attempts),
        access_log=access_log.of_streams(log),
        hash_policy=[m.StreamHashPolicy(source_ip={})] if found is not None and found.hashes else [],
    )
    return m.Filter(name="envoy.filters.network.tcp_proxy", typed_config=m.packed(proxy))
