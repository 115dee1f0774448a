"""Where the API has OpenStack's: at its root, whose document says so, and below ``/v2.0``."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Mount, Route

from edgeward.api.openstack.app import OpenStackApp


def add(app: FastAPI, openstack: OpenStackApp) -> None:
    """Have the app answer OpenStack's clients too; its OpenAPI document tells nothing of them."""
    app.router.routes += [
        Route("/", openstack, name="versions", include_in_schema=False),
        Route("/v2.0", openstack, name="v2.0", include_in_schema=False),
        Mount("/v2.0", openstack, name="openstack"),
    ]
