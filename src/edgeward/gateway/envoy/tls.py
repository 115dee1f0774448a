"""TLS towards visitors: certificates picked at the handshake, and what visitors show of themselves."""

from __future__ import annotations

from typing import Any

from edgeward.gateway.envoy.cluster import ads
from edgeward.gateway.envoy.gateway import Edge
from edgeward.xds import messages as m
from edgeward.xds.on_demand import LASTING

NO_SNI = "edgeward:no-sni"
"""The secret Envoy asks for when a visitor names no host; no domain name has a colon."""

# Mozilla's "intermediate" (version 5.7); TLS 1.3 suites are fixed in BoringSSL
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)


AUTHORITY, ECDSA, RSA, TICKETS = "client-ca", "ecdsa", "rsa", "tickets"
_SESSION_SECONDS = 24 * 3600.0


def secret_of(domain: str, what: str) -> str:
    """Give the name of a domain's secret: its authorities for visitors' certificates, one of its own
    certificates, or its keys for sessions."""
    return f"{LASTING}{what}/{domain}"


def common() -> Any:
    """Give the TLS of all who have no filter chain of their own."""
    selector = m.OnDemandSecret(
        config_source=ads(),
        certificate_mapper=m.extension(
            "envoy.tls.certificate_mappers.sni", m.SniMapper(default_value=NO_SNI)
        ),
    )
    context = _context()
    context.common_tls_context.custom_tls_certificate_selector.CopyFrom(
        m.extension("envoy.tls.certificate_selectors.on_demand_secret", selector)
    )
    # the on-demand selector refuses listeners that resume sessions
    context.disable_stateless_session_resumption = True
    context.disable_stateful_session_resumption = True
    return context


def of_domain(domain: str, edge: Edge) -> Any:
    """Give the TLS of a domain with a filter chain of its own."""
    context = _hot(domain) if edge.hot else common()
    if edge.client is not None:
        # a secret of its own, so that an authority Envoy does not like harms this domain and not the listener
        context.common_tls_context.validation_context_sds_secret_config.CopyFrom(_secret(domain, AUTHORITY))
        context.require_client_certificate.value = edge.client.required
    return context


def _hot(domain: str) -> Any:
    """Certificates that stand ready, ECDSA for whoever knows it, and sessions that any node resumes."""
    context = _context()
    certificates = [_secret(domain, what) for what in (ECDSA, RSA)]
    context.common_tls_context.tls_certificate_sds_secret_configs.extend(certificates)
    context.session_ticket_keys_sds_secret_config.CopyFrom(_secret(domain, TICKETS))
    context.session_timeout.CopyFrom(m.seconds(_SESSION_SECONDS))
    context.disable_stateful_session_resumption = True  # those would be kept by one worker's process alone
    return context


def over_quic(domain: str) -> Any:
    """Give the TLS of a hot name for HTTP/3."""
    context = _hot(domain)
    context.common_tls_context.alpn_protocols[:] = ["h3"]
    return context


def _secret(domain: str, what: str) -> Any:
    return m.SdsSecretConfig(name=secret_of(domain, what), sds_config=ads())


def _context() -> Any:
    return m.DownstreamTlsContext(
        common_tls_context=m.CommonTlsContext(
            tls_params=m.TlsParameters(
                tls_minimum_protocol_version=m.TlsParameters.TLSv1_2,
                tls_maximum_protocol_version=m.TlsParameters.TLSv1_3,
                cipher_suites=_CIPHERS,
            ),
            alpn_protocols=["h2", "http/1.1"],
        ),
    )
