"""The state a node serves, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeward.gateway.model import Listen, Route, Service


@dataclass(frozen=True)
class Gateway:
    """Everything Envoy's configuration is made of; ``system_roots`` is the host's PEM bundle."""

    listen: Listen = field(default_factory=Listen)
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    system_roots: str = "/etc/ssl/certs/ca-certificates.crt"


def cluster_name(project: str, service: str) -> str:
    return f"{project}/{service}"
