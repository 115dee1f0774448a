"""Why a name is served, or is not, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.principal import Cases, Reader

router = APIRouter(prefix="/v1/explain", tags=["explain"])


class Explaining(Protocol):
    async def explained(self, who: Principal, name: str, path: str) -> Mapping[str, Any]:
        """Give ``served``, and how, or the first ``reason`` why not with its ``remedy``.

        ``name`` may be ``-``: a visitor who names none (no SNI).
        """
        ...


@router.get("/{name}")
async def explain(
    cases: Cases,
    who: Reader,
    name: Annotated[str, Path(min_length=1, max_length=1000)],
    path: Annotated[str, Query(min_length=1, max_length=2000, pattern="^/")] = "/",
) -> JSONResponse:
    """Say whether a visitor of ``name`` is served: by which domain, route, service and certificate on which
    node, until when; if not, the first reason and the remedy. ``-`` stands for visitors without SNI."""
    return JSONResponse(dict(await cases.explain.explained(who, name, path)))
