"""The state a node serves, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeward.gateway.model import Listen, Route, Service, TcpRoute

SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs
)
"""Where distributions keep the authorities that backends are verified against."""


@dataclass(frozen=True)
class ClientCertificates:
    """What visitors of a domain show of themselves; the authority itself comes as a secret."""

    required: bool = True
    forward: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """What a domain has a filter chain of its own for."""

    client: ClientCertificates | None = None
    hot: bool = False


@dataclass(frozen=True)
class Gateway:
    """Everything Envoy's configuration is made of; ``system_roots`` is the host's PEM bundle."""

    listen: Listen = field(default_factory=Listen)
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    system_roots: str = SYSTEM_ROOTS[0]
    domains: Mapping[str, str] = field(default_factory=dict)
    """Domain → project; needed only where there is more than one project, or there are ``edges``."""
    edges: Mapping[str, Edge] = field(default_factory=dict)
    """Domain → why it has a filter chain of its own; most have none."""
    tcp_routes: tuple[TcpRoute, ...] = ()
    proofs: str | None = None
    """Directory of the node's sockets that answer an authority's checks; None: nobody does."""


def cluster_name(project: str, service: str) -> str:
    return f"{project}/{service}"
