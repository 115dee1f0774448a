"""How bytes go to backends: one transport socket for each way of verifying TLS, matched by the endpoint's
metadata, and before all the PROXY protocol where it is spoken."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any

from edgeward.gateway.model import Backend, Service
from edgeward.xds import messages as m

_SAN_DNS, _SAN_IP = m.SubjectAltNameMatcher.DNS, m.SubjectAltNameMatcher.IP_ADDRESS


def transport_sockets(service: Service, system_roots: str) -> list[Any]:
    """Give one TLS set-up per backend that needs its own; plain backends match none and stay plain."""
    distinct = {match_id(b): b for b in service.backends if b.uses_tls}
    return [
        m.Cluster.TransportSocketMatch(
            name=identity,
            match=identified(identity),
            transport_socket=_telling(
                service,
                m.TransportSocket(
                    name="envoy.transport_sockets.tls",
                    typed_config=m.packed(_upstream_tls(backend, system_roots)),
                ),
            ),
        )
        for identity, backend in sorted(distinct.items())
    ]


def plain_socket(service: Service) -> Any:
    """Give what backends without TLS are reached by; None where that is nothing particular."""
    if service.proxy_protocol is None:
        return None
    raw = m.TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=m.packed(m.RawBuffer()))
    return _telling(service, raw)


def _telling(service: Service, inner: Any) -> Any:
    """Have the PROXY protocol go first, where the service wants it.

    Envoy takes the addresses of the visitor's connection (conn_manager_impl.cc, tcp_proxy.cc) and keys its
    pools by them (proxy_protocol.cc ``hashKey``): no other visitor's request goes over that connection.
    """
    if service.proxy_protocol is None:
        return inner
    version = m.ProxyProtocolConfig.V1 if service.proxy_protocol == "v1" else m.ProxyProtocolConfig.V2
    config = m.ProxyProtocolUpstream(config=m.ProxyProtocolConfig(version=version), transport_socket=inner)
    return m.TransportSocket(
        name="envoy.transport_sockets.upstream_proxy_protocol", typed_config=m.packed(config)
    )


def match_id(backend: Backend) -> str:
    tls = backend.tls
    ca = "" if tls is None or tls.ca is None else hashlib.sha256(tls.ca.encode()).hexdigest()[:16]
    verify = tls is None or tls.verify
    return f"{server_name(backend)} {ca} {'verified' if verify else 'unverified'}"


def server_name(backend: Backend) -> str:
    return (backend.tls.server_name if backend.tls else None) or backend.host


def identified(identity: str) -> Any:
    struct = m.Struct()
    struct.update({"tls": identity})
    return struct


def _upstream_tls(backend: Backend, system_roots: str) -> Any:
    name = server_name(backend)
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
