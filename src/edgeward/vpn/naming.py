"""What gateways and connections are known by, wherever they are made."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final, Literal, NamedTuple

_SPACE: Final = uuid.UUID("6f1d1f4e-0a57-5f0e-9c52-3f5a3e3f7c11")


class Router(NamedTuple):
    """Whose gateway it is: ``kind`` is ``routers`` for OpenStack's, ``vpn`` for those of our own words."""

    project: str
    kind: Literal["routers", "vpn"]
    name: str

    @property
    def id(self) -> str:
        return gateway_id(self.project, self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"


def gateway_id(project: str, kind: Literal["routers", "vpn"], name: str) -> str:
    """Give the 12 hexadecimal digits that a gateway's namespace, cables and files are named by."""
    return hashlib.sha256(f"{project}/{kind}/{name}".encode()).hexdigest()[:12]


def connection_id(project: str, name: str) -> str:
    """Give the UUID of a connection declared in our own words."""
    return str(uuid.uuid5(_SPACE, f"{project}/vpn/{name}"))
