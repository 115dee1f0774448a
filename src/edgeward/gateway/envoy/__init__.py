"""Translates the gateway into Envoy's resources: pure functions from values to messages."""

from __future__ import annotations

from edgeward.gateway.envoy.cluster import cluster
from edgeward.gateway.envoy.endpoints import endpoints
from edgeward.gateway.envoy.gateway import SYSTEM_ROOTS, Gateway
from edgeward.gateway.envoy.listener import NO_SNI, listeners
from edgeward.gateway.envoy.routes import route_configurations, used_services
from edgeward.xds.resource import Resource

__all__ = ["NO_SNI", "SYSTEM_ROOTS", "Gateway", "endpoints", "translate"]


def translate(gateway: Gateway) -> tuple[Resource, ...]:
    """Give all listeners, clusters and route configurations for one state, in the order clusters,
    listeners, routes. Endpoints and secrets are the node's: they change without the state changing.
    """
    return (
        *(cluster(service, gateway.system_roots) for service in used_services(gateway)),
        *listeners(gateway),
        *route_configurations(gateway),
    )
