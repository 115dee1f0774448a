"""The names the demo plays with, and the file that declares them."""

from __future__ import annotations

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
NEW_ROUTE: Final[dict[str, Any]] = {
    "name": "old-page",
    "hosts": [EAGER[0]],
    "paths": ["=/old"],
    "redirect": {"path": "/new", "status": 308},
}


def declaration(
    http: int, https: int, api: int, backend: int, *more_routes: dict[str, Any]
) -> dict[str, Any]:
    """Give the whole declaration for these ports of loopback."""
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
            *more_routes,
            {"name": "shop", "hosts": [*EAGER, "*.customers.example"], "service": "shop"},
            {"name": "moving", "hosts": [MOVING], "service": "moving"},
        ],
    }
