"""Listeners: TLS with certificates picked at the handshake, HTTP with the edge's limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from edgeward.gateway.envoy import access_log, chains, hardening, limits, proofs, proxied, quic, stream, tls
from edgeward.gateway.envoy.cluster import ads
from edgeward.gateway.envoy.gateway import Edge, Gateway
from edgeward.gateway.envoy.names import chain_matcher, plain_chain_matcher
from edgeward.gateway.envoy.routes import HTTP_ROUTES, HTTPS_ROUTES
from edgeward.gateway.model import Address, Limits, Listen
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_OWNER = "listen/default/listen"
_BUFFER_BYTES = 32 * 1024


class _Common(NamedTuple):
    """What all filter chains for HTTP depend on."""

    limits: Limits
    default_domain: str | None
    access_log: str
    proofs: bool


def _common(gateway: Gateway) -> _Common:
    listen = gateway.listen
    return _Common(listen.limits, listen.default_domain, listen.access_log, gateway.proofs is not None)


class Listening:
    """``update(gateway)`` gives the listeners of a state; nothing is made again where they are the same."""

    def __init__(self) -> None:
        self._made: tuple[Any, tuple[Resource, ...]] | None = None

    def update(self, gateway: Gateway) -> tuple[Resource, ...]:
        names = chains.names(gateway)
        led = {(r.project, r.service) for r in gateway.tcp_routes}
        passing = [route for route in gateway.routes if route.tls == "passthrough"]
        led |= {(r.project, str(r.service)) for r in passing}
        services = [s for s in gateway.services if (s.project, s.name) in led] if led else []
        edges, proving = dict(gateway.edges), gateway.proofs is not None
        seen = (gateway.listen, edges, gateway.tcp_routes, names, passing, services, proving)
        if self._made is None or self._made[0] != seen:
            self._made = (seen, listeners(gateway, names))
        return self._made[1]


def listeners(gateway: Gateway, names: chains.Names) -> tuple[Resource, ...]:
    """Give one listener for each address of ``listen.http``, ``listen.https`` and of TCP routes, and one more
    for HTTP/3 beside each of ``listen.https`` where there are names for it.
    """
    over_quic = quic.names(gateway)
    listen = gateway.listen
    return (
        *(_secure(gateway, text, names) for text in listen.https),
        *(_quic(gateway, text, over_quic) for text in listen.https if over_quic),
        *(_plain(gateway, text) for text in listen.http),
        *stream.tcp_listeners(gateway),
    )


def _secure(gateway: Gateway, text: str, names: chains.Names) -> Resource:
    listen = gateway.listen
    message = _listener(listen, text, "https", _secure_chains(gateway, text))
    matcher = chain_matcher(
        names, listen.trusted_proxies, listen.proxy_protocol, proofs=gateway.proofs is not None
    )
    message.filter_chain_matcher.CopyFrom(matcher)
    message.listener_filters.append(
        m.ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=m.packed(m.TlsInspector()))
    )
    message.access_log.extend(access_log.of_failed_handshakes(listen.access_log))
    return resource(message, message.name, _OWNER)


def _quic(gateway: Gateway, text: str, names: Sequence[str]) -> Resource:
    listen = gateway.listen
    proxies = [_range(network) for network in sorted(set(listen.trusted_proxies))]
    managers = {
        trusted: _connection_manager(_common(gateway), secure=True, trusted=trusted)
        for trusted in _trusts(listen)
    }
    found = [
        quic.chain(name, manager, proxies if trusted else ())
        for name in names
        for trusted, manager in managers.items()
    ]
    return quic.listener(listen, text, found, _OWNER)


def _plain(gateway: Gateway, text: str) -> Resource:
    listen = gateway.listen
    variants = [_chain(_common(gateway), secure=False, trusted=trusted) for trusted in _trusts(listen)]
    message = _listener(listen, text, "http", variants)
    if listen.proxy_protocol:
        message.filter_chain_matcher.CopyFrom(
            plain_chain_matcher(listen.trusted_proxies, listen.proxy_protocol)
        )
    elif listen.trusted_proxies:
        message.filter_chains[0].filter_chain_match.source_prefix_ranges.extend(
            _range(network) for network in sorted(set(listen.trusted_proxies))
        )
    return resource(message, message.name, _OWNER)


def _trusts(listen: Listen) -> tuple[bool, ...]:
    """Give the variants a chain has: one for trusted proxies, where there are some, and for strangers."""
    return (True, False) if listen.trusted_proxies else (False,)


def _listener(listen: Listen, text: str, kind: str, filter_chains: list[Any]) -> Any:
    address = Address.parse(text)
    return m.Listener(
        name=f"{kind} {address}",
        address=m.Address(socket_address=m.SocketAddress(address=address.host, port_value=address.port)),
        stat_prefix=kind,
        per_connection_buffer_limit_bytes=m.UInt32Value(value=_BUFFER_BYTES),
        filter_chains=filter_chains,
        listener_filters=proxied.listener_filters() if listen.proxy_protocol else [],
        listener_filters_timeout=m.seconds(listen.limits.header_timeout),
    )


def _secure_chains(gateway: Gateway, text: str) -> list[Any]:
    listen = gateway.listen
    over_quic = set(quic.names(gateway))
    common = [_chain(_common(gateway), secure=True, trusted=trusted) for trusted in _trusts(listen)]
    own = [
        _own_chain(_common(gateway), domain, edge, trusted, text if domain in over_quic else None)
        for domain, edge in sorted(gateway.edges.items())
        for trusted in _trusts(listen)
    ]
    proving = [] if gateway.proofs is None else [proofs.tls_chain()]
    return [*common, *own, *stream.passthrough_chains(gateway), *proving]


@lru_cache(maxsize=8192)
def _own_chain(common: _Common, domain: str, edge: Edge, trusted: bool, offered: str | None) -> Any:
    """Give the filter chain of a domain that has one of its own; ``offered``: where HTTP/3 is, too."""
    manager = _connection_manager(common, secure=True, trusted=trusted)
    if edge.client is not None:
        manager.forward_client_cert_details = m.HttpConnectionManager.SANITIZE_SET
        manager.set_current_client_cert_details.CopyFrom(_details(edge.client.forward))
    if offered is not None:
        manager.http_filters.insert(0, quic.offer(offered))
    chain = _secured(common, manager)
    chain.name = str(chains.variants(chains.own_chain(domain))[trusted])
    chain.transport_socket.typed_config.CopyFrom(m.packed(tls.of_domain(domain, edge)))
    return chain


def _range(network: str) -> Any:
    prefix, _, bits = network.partition("/")
    return m.CidrRange(address_prefix=prefix, prefix_len=m.UInt32Value(value=int(bits)))


def _chain(common: _Common, *, secure: bool, trusted: bool) -> Any:
    manager = _connection_manager(common, secure=secure, trusted=trusted)
    chain = _secured(common, manager) if secure else m.FilterChain(filters=[_http(manager)])
    chain.name = "proxies" if trusted else "strangers"
    return chain


def _secured(common: _Common, manager: Any) -> Any:
    return m.FilterChain(
        filters=[_http(manager)],
        transport_socket=m.TransportSocket(
            name="envoy.transport_sockets.tls", typed_config=m.packed(tls.common())
        ),
        transport_socket_connect_timeout=m.seconds(common.limits.handshake_timeout),
    )


def _http(manager: Any) -> Any:
    return m.Filter(name="envoy.filters.network.http_connection_manager", typed_config=m.packed(manager))


def _details(forward: Sequence[str]) -> Any:
    return m.HttpConnectionManager.SetCurrentClientCertDetails(
        subject=m.BoolValue(value="subject" in forward),
        dns="dns" in forward,
        uri="uri" in forward,
        cert="certificate" in forward,
        chain="chain" in forward,
    )


def _connection_manager(common: _Common, *, secure: bool, trusted: bool) -> Any:
    bounds = common.limits
    denials = hardening.denials(secure=secure, default_domain=common.default_domain)
    limiter = limits.http_filter()
    router = m.HttpFilter(
        name="envoy.filters.http.router",
        typed_config=m.packed(m.Router(suppress_envoy_headers=True, dynamic_stats=m.BoolValue(value=False))),
    )
    body = [_body_limit(bounds.request_body_bytes)] if bounds.request_body_bytes else []
    proving = [proofs.http_filter()] if common.proofs and not secure else []
    return m.HttpConnectionManager(
        stat_prefix="https" if secure else "http",
        rds=m.Rds(config_source=ads(), route_config_name=HTTPS_ROUTES if secure else HTTP_ROUTES),
        http_filters=[denials, *proving, limiter, *body, router],
        upgrade_configs=[
            m.HttpConnectionManager.UpgradeConfig(
                upgrade_type="websocket", filters=[denials, limiter, router]
            )
        ],
        use_remote_address=m.BoolValue(value=True),
        xff_num_trusted_hops=1 if trusted else 0,
        internal_address_config=m.HttpConnectionManager.InternalAddressConfig(
            cidr_ranges=[m.CidrRange(address_prefix="0.0.0.0", prefix_len=m.UInt32Value(value=32))]  # noqa: S104 - nobody's address
        ),
        early_header_mutation_extensions=[] if trusted else [hardening.forget_forged_headers()],
        # the route configuration appends it: for loopback Envoy would put the host's own address
        skip_xff_append=True,
        append_x_forwarded_port=True,
        strip_any_host_port=True,
        strip_trailing_host_dot=True,
        normalize_path=m.BoolValue(value=True),
        merge_slashes=True,
        server_header_transformation=m.HttpConnectionManager.PASS_THROUGH,
        max_request_headers_kb=m.UInt32Value(value=max(1, bounds.request_header_bytes // 1024)),
        request_headers_timeout=m.seconds(bounds.header_timeout),
        request_timeout=m.seconds(bounds.request_timeout),
        stream_idle_timeout=m.seconds(bounds.idle_timeout),
        common_http_protocol_options=m.HttpProtocolOptions(
            idle_timeout=m.seconds(bounds.idle_timeout),
            max_headers_count=m.UInt32Value(value=bounds.request_headers),
            headers_with_underscores_action=m.HttpProtocolOptions.REJECT_REQUEST,
        ),
        http2_protocol_options=m.Http2ProtocolOptions(
            max_concurrent_streams=m.UInt32Value(value=bounds.concurrent_streams),
            initial_stream_window_size=m.UInt32Value(value=64 * 1024),
            initial_connection_window_size=m.UInt32Value(value=1024 * 1024),
        ),
        local_reply_config=_local_replies(proving=bool(proving)),
        access_log=access_log.of_requests(common.access_log),
    )


def _local_replies(*, proving: bool) -> Any:
    found = hardening.local_replies()
    if proving:
        found.mappers.insert(0, proofs.known_reply())
    return found


def _body_limit(most: int) -> Any:
    """A bounded body is held until it is whole: that is how Envoy can answer 413 before forwarding."""
    return m.HttpFilter(
        name="envoy.filters.http.buffer",
        typed_config=m.packed(m.Buffer(max_request_bytes=m.UInt32Value(value=min(most, 2**32 - 1)))),
    )
