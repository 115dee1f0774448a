"""Sites to try things with."""

from __future__ import annotations

from edgeward.sealing import Seal, Sealed
from edgeward.vpn.site import Site

SEAL = Seal(bytes(32))


def site(name: str = "berlin", **more: object) -> Site:
    """Give a site that nothing is wrong with, but for what is said."""
    fields = {
        "name": name,
        "peer": "198.51.100.9",
        "local_networks": ["10.1.0.0/24"],
        "remote_networks": ["192.168.4.0/24"],
        "local_id": "@here.example",
        "secret": Sealed.of(f"secret of {name}", SEAL),
    }
    return Site.model_validate(fields | more)
