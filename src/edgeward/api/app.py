"""The REST app: every route, with problem documents and bounded bodies."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI

from edgeward import __version__
from edgeward.api import health, problems
from edgeward.api.usecases import UseCases


def create_app(cases: UseCases, extra: Sequence[APIRouter] = ()) -> FastAPI:
    """Give the app over these use cases."""
    app = FastAPI(
        title="Edgeward", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json"
    )
    app.state.use_cases = cases
    problems.install(app)
    for router in (health.router, *extra):
        app.include_router(router)
    return app
