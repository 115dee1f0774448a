"""The names the demo plays with, and the file that declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

EAGER: Final = ("shop.example", "blog.example", "docs.example")
ON_DEMAND: Final = ("anna.customers.example", "bob.customers.example", "carol.customers.example")
LATE: Final = "dave.customers.example"
MOVING: Final = "moving.example"
UNKNOWN: Final = ("nobody.example", "too.deep.customers.example")
MOVING_BACKEND: Final = "backend.internal.example"
"""A name that only the demo's name server knows."""
OLD_PLACE: Final = "127.0.0.1"
NEW_PLACE: Final = "127.0.0.2"
ORDERED: Final = "shop.acme.example"
"""Covered by a domain whose certificates an ACME authority issues."""
CUSTOMERS: Final = ("berlin", "paris")
"""Behind tunnels, with the same private addresses both: see ``customers``."""
NEW_ROUTE: Final[dict[str, Any]] = {
    "name": "old-page",
    "hosts": [EAGER[0]],
    "paths": ["=/old"],
    "redirect": {"path": "/new", "status": 308},
}


def declaration(
    http: int, https: int, api: int, backend: int, more: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """Give the whole declaration for these ports of loopback, and more of some sections, which goes first."""
    found = _always(http, https, api, backend)
    return found | {section: [*items, *found.get(section, ())] for section, items in more.items()}


def ordered(directory: str, ca_file: str) -> dict[str, list[Any]]:
    """Give what an ACME authority is used with."""
    wildcard = "*." + ORDERED.partition(".")[2]
    return {
        "issuers": [{"name": "authority", "acme": {"directory": directory, "ca_file": ca_file}}],
        "domains": [{"name": wildcard, "on_demand": True, "issuer": "authority"}],
        "routes": [{"name": "ordered", "hosts": [wildcard], "service": "shop"}],
    }


def tunnels(local_network: str, peers: Mapping[str, str], address: str) -> dict[str, list[Any]]:
    """Give a site for each peer (name → address), and a public name for the same address behind each."""
    sites = [
        {
            "name": name, "peer": peer, "local_id": "@edge.example", "remote_id": f"@{name}.example",
            "local_networks": local_network, "remote_networks": "192.168.4.0/24",
            "secret": f"only for this example, {name}",
        }
        for name, peer in peers.items()
    ]  # fmt: skip
    return {
        "vpn": sites,
        "domains": [{"name": f"{name}.example"} for name in peers],
        "services": [{"name": name, "backends": [f"vpn://{name}/{address}:80"]} for name in peers],
        "routes": [{"name": name, "hosts": [f"{name}.example"], "service": name} for name in peers],
    }


def _always(http: int, https: int, api: int, backend: int) -> dict[str, Any]:
    return {
        "version": 1,
        "listen": {
            "http": f"127.0.0.1:{http}",
            "https": f"127.0.0.1:{https}",
            "api": f"127.0.0.1:{api}",
        },
        "domains": [
            *({"name": name} for name in (*EAGER, MOVING)),
            {"name": "*.customers.example", "on_demand": True},
        ],
        "services": [
            {"name": "shop", "backends": [f"http://{OLD_PLACE}:{backend}"]},
            {
                "name": "moving",
                "backends": [f"http://{MOVING_BACKEND}:{backend}"],
                "allow_networks": ["127.0.0.0/8"],
            },
        ],
        "routes": [
            {"name": "shop", "hosts": [*EAGER, "*.customers.example"], "service": "shop"},
            {"name": "moving", "hosts": [MOVING], "service": "moving"},
        ],
    }
