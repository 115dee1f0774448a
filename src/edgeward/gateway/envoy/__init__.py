"""Translates the gateway into Envoy's resources: pure functions from values to messages."""

from __future__ import annotations

from edgeward.gateway.envoy.endpoints import endpoints
from edgeward.gateway.envoy.gateway import SYSTEM_ROOTS, Gateway
from edgeward.gateway.envoy.tls import NO_SNI
from edgeward.gateway.envoy.translation import Translation
from edgeward.xds.resource import Resource

__all__ = ["NO_SNI", "SYSTEM_ROOTS", "Gateway", "Translation", "endpoints", "translate"]


def translate(gateway: Gateway) -> tuple[Resource, ...]:
    """Give all listeners, clusters and route configurations for one state, in the order clusters,
    listeners, routes. Endpoints and secrets are the node's: they change without the state changing.
    """
    return Translation().update(gateway)
