"""Tunnels: nodes say how each does, people ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.bodies import body_of, described
from edgeward.api.nodes import NodeName
from edgeward.api.pages import Text
from edgeward.api.principal import Cases, FollowingNode, Reader
from edgeward.declaration.feed import Tunnels

router = APIRouter(prefix="/v1", tags=["tunnels"])

TunnelName = Annotated[str, Path(min_length=1, max_length=260, description="its name, or its id")]


class Telling(Protocol):
    async def told(self, who: Principal, said: Tunnels) -> None: ...

    async def listed(self, who: Principal, project: str | None) -> Sequence[Mapping[str, Any]]: ...

    async def found(self, who: Principal, name: str, project: str | None) -> Mapping[str, Any]: ...


@router.post("/nodes/{name}/tunnels", status_code=204, openapi_extra=described(Tunnels))
async def told(
    cases: Cases, who: FollowingNode, name: NodeName, body: Annotated[Tunnels, body_of(Tunnels)]
) -> Response:
    """Take in what a node says of its gateways and of the tunnels in them."""
    await cases.tunnels.told(who, body)
    return Response(status_code=204)


@router.get("/tunnels")
async def listed(cases: Cases, who: Reader, project: Text = None) -> JSONResponse:
    """List how every declared connection does, whoever declared it in whichever words."""
    return JSONResponse({"items": list(await cases.tunnels.listed(who, project)), "next": None})


@router.get("/vpn/{name}/status")
async def status(cases: Cases, who: Reader, name: TunnelName, project: Text = None) -> JSONResponse:
    """Say how one connection does: phase and since when, why it is not up and what to do, its keys, its
    algorithms, and what it carried."""
    return JSONResponse(dict(await cases.tunnels.found(who, name, project)))
