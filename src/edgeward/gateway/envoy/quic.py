"""HTTP/3: hot names over QUIC, on the UDP ports of the HTTPS addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeward.gateway.envoy import tls
from edgeward.gateway.envoy.gateway import Gateway
from edgeward.gateway.model import Address, Limits, Listen
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource, resource

_REMEMBERED_SECONDS = 3600


def names(gateway: Gateway) -> list[str]:
    """Give the names that are served over QUIC.

    Not those that ask for visitors' certificates, which Envoy does not over QUIC; and none behind load
    balancers that speak the PROXY protocol, which there is none of over UDP.
    """
    if gateway.listen.proxy_protocol:
        return []
    return sorted(name for name, edge in gateway.edges.items() if edge.hot and edge.client is None)


def offer(text: str) -> Any:
    """Give the HTTP filter that tells visitors of HTTP/3 (RFC 7838) on the same port."""
    value = f'h3=":{Address.parse(text).port}"; ma={_REMEMBERED_SECONDS}'
    option = m.HeaderValueOption(
        header=m.HeaderValue(key="alt-svc", value=value),
        append_action=m.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    mutations = m.HeaderMutations(response_mutations=[m.HeaderMutation(append=option)])
    return m.HttpFilter(
        name="envoy.filters.http.header_mutation",
        typed_config=m.packed(m.HeaderMutationFilter(mutations=mutations)),
    )


def chain(name: str, manager: Any, proxies: Sequence[Any] = ()) -> Any:
    """Give the filter chain of one name; ``proxies``: of visitors from these address ranges only."""
    manager.codec_type = m.HttpConnectionManager.HTTP3
    socket = m.QuicDownstreamTransport(downstream_tls_context=tls.over_quic(name))
    return m.FilterChain(
        name=f"{name}{' proxies' if proxies else ''}",
        filter_chain_match=m.FilterChainMatch(server_names=[name], source_prefix_ranges=proxies),
        filters=[
            m.Filter(name="envoy.filters.network.http_connection_manager", typed_config=m.packed(manager))
        ],
        transport_socket=m.TransportSocket(
            name="envoy.transport_sockets.quic", typed_config=m.packed(socket)
        ),
    )


def listener(listen: Listen, text: str, chains: Sequence[Any], owner: str) -> Resource:
    """Give the listener beside the one for HTTPS."""
    address = Address.parse(text)
    message = m.Listener(
        name=f"h3 {address}",
        address=m.Address(
            socket_address=m.SocketAddress(
                protocol=m.SocketAddress.UDP, address=address.host, port_value=address.port
            )
        ),
        stat_prefix="h3",
        filter_chains=chains,
        udp_listener_config=m.UdpListenerConfig(quic_options=_options(listen.limits)),
    )
    return resource(message, message.name, owner)


def _options(limits: Limits) -> Any:
    protocol = m.QuicProtocolOptions(
        max_concurrent_streams=m.UInt32Value(value=limits.concurrent_streams),
        initial_stream_window_size=m.UInt32Value(value=64 * 1024),
        initial_connection_window_size=m.UInt32Value(value=1024 * 1024),
    )
    return m.QuicListenerOptions(
        quic_protocol_options=protocol,
        idle_timeout=m.seconds(limits.idle_timeout),
        crypto_handshake_timeout=m.seconds(limits.handshake_timeout),
    )
