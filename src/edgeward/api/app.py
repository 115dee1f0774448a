"""The REST app: every route, with problem documents and bounded bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from edgeward import __version__
from edgeward.api import bodies, health, nodes, objects, problems, tokens, whole
from edgeward.api.bounds import BoundedBodies, Observe, Observed
from edgeward.api.routes import Operation, Routes
from edgeward.api.staleness import Marked
from edgeward.api.usecases import UseCases
from edgeward.declaration.model import Kind


def create_app(
    cases: UseCases,
    kinds: Mapping[str, Kind],
    observe: Observe = lambda *_: None,
    extra: Sequence[Routes] = (),
) -> FastAPI:
    """Give the app over these use cases; ``observe`` is told of every answer."""
    app = FastAPI(
        title="Edgeward",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.use_cases = cases
    problems.install(app)
    app.add_middleware(BoundedBodies)
    app.add_middleware(Observed, observe=observe)
    app.add_middleware(Marked, stale_since=cases.seeing.stale_since)
    own = (health.router, whole.router, tokens.router, nodes.router, *objects.routers(kinds))
    for routes in (*own, *extra):
        app.router.routes += routes.operations
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = [route.made for route in app.routes if isinstance(route, Operation)]
        document = get_openapi(title=app.title, version=app.version, routes=made)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(bodies.schemas(), Problem=problems.SCHEMA)
        app.openapi_schema = document
    return app.openapi_schema
