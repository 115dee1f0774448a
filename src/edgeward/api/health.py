"""For probes and scrapers: alive, ready, and figures."""

from __future__ import annotations

from fastapi.responses import JSONResponse, Response

from edgeward.api.principal import Cases, Surveyor
from edgeward.api.problems import problem
from edgeward.api.routes import Routes

router = Routes(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Say that the program runs; no log-in needed."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "Not ready, with the reason"}})
async def ready(cases: Cases) -> JSONResponse:
    """Say whether the database answers and the declared state was taken in; no log-in needed."""
    reason = await cases.seeing.ready()
    return JSONResponse({"status": "ok"}) if reason is None else problem(503, "Not ready", reason)


@router.get("/metrics", response_class=Response)
async def metrics(cases: Cases, _who: Surveyor) -> Response:
    """Give figures in the Prometheus text format; for tokens of every project (``*``)."""
    return Response(await cases.seeing.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
