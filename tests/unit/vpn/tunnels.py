"""Declared gateways, and what nodes say of them, for tests."""

from __future__ import annotations

from typing import Any

from edgeward.vpn.desired import Connection, Gateway, Ike, Ipsec, Proposal, Psk
from edgeward.vpn.driver import State
from edgeward.vpn.heard import Heard

NOW = 1_700_000_000.0
GATEWAY = "0123456789ab"


def connection(number: int = 1, **changes: Any) -> Connection:
    values = {
        "id": f"00000000-0000-0000-0000-{number:012d}",
        "name": f"default/office-{number}",
        "local_address": "198.51.100.1",
        "peer_address": "203.0.113.9",
        "local_id": "198.51.100.1",
        "peer_id": "203.0.113.9",
        "local_networks": ("10.1.0.0/24",),
        "peer_networks": ("10.2.0.0/24",),
        "ike": Ike(proposals=(Proposal(encryption="aes-256"),)),
        "ipsec": Ipsec(proposals=(Proposal(encryption="aes-256"),)),
        "auth": Psk(secret="not for anybody"),
    }
    return Connection(**(values | changes))


def gateway(*connections: Connection, **changes: Any) -> Gateway:
    return Gateway(
        **({"id": GATEWAY, "name": "default/office", "connections": connections or (connection(),)} | changes)
    )


def state(number: int = 1, phase: str = "active", **more: Any) -> State:
    return State.model_validate({"connection": connection(number).id, "phase": phase, "since": NOW} | more)


def heard(*states: State, phase: str = "running", **more: Any) -> Heard:
    return Heard(**({"gateway": GATEWAY, "phase": phase, "since": NOW, "states": states} | more))
