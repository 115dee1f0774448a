"""What the gateway is told: where to listen, which services there are, which routes lead to them.

Field names are the public surface (YAML and REST). Durations are seconds as numbers (fractions
allowed) or strings such as ``500ms``, ``30s``, ``5m``, ``1h``; sizes are bytes or ``64k``, ``10m``.
"""

from edgeward.gateway.model.backend import Backend, BackendTLS, Behind
from edgeward.gateway.model.balance import HashCookie, HashOn
from edgeward.gateway.model.canary import Canary
from edgeward.gateway.model.header import HeaderChange
from edgeward.gateway.model.listen import Address, Limits, Listen, ListenHere
from edgeward.gateway.model.openresty import Gateway, OpenResty, PrimedRedis
from edgeward.gateway.model.rate_limit import ByHeader, RateLimit
from edgeward.gateway.model.route import HSTS, Redirect, Route
from edgeward.gateway.model.service import (
    ActiveHealth,
    Circuit,
    Health,
    PassiveHealth,
    Retries,
    Service,
    Timeouts,
)
from edgeward.gateway.model.tcp_route import TcpRoute
from edgeward.gateway.model.units import duration, size

__all__ = [
    "HSTS",
    "ActiveHealth",
    "Address",
    "Backend",
    "BackendTLS",
    "Behind",
    "ByHeader",
    "Canary",
    "Circuit",
    "Gateway",
    "HashCookie",
    "HashOn",
    "HeaderChange",
    "Health",
    "Limits",
    "Listen",
    "ListenHere",
    "OpenResty",
    "PassiveHealth",
    "PrimedRedis",
    "RateLimit",
    "Redirect",
    "Retries",
    "Route",
    "Service",
    "TcpRoute",
    "Timeouts",
    "duration",
    "size",
]
