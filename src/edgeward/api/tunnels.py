"""Tunnels: nodes say how each does, people ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from fastapi import Path, Query, Response
from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.bodies import body_of, described
from edgeward.api.nodes import NodeName
from edgeward.api.pages import Paging, Text, cursor, words
from edgeward.api.principal import Cases, Changer, FollowingNode, Reader
from edgeward.api.routes import Routes
from edgeward.declaration.feed import Tunnels

router = Routes(prefix="/v1", tags=["tunnels"])

What = Literal["initiate", "terminate", "verbosity"]
Fresh = Annotated[bool, Query(description="ask its node: also what it carried up to this moment")]
TunnelName = Annotated[str, Path(min_length=1, max_length=260, description="its name, or its id")]


class Telling(Protocol):
    async def told(self, who: Principal, said: Tunnels) -> None: ...

    async def listed(
        self, who: Principal, project: str | None, limit: int, after: tuple[str, ...] | None
    ) -> Sequence[Mapping[str, Any]]:
        """Give at most ``limit`` behind the project, name and id of the last one of the page before."""
        ...

    async def found(self, who: Principal, name: str, project: str | None) -> Mapping[str, Any]: ...


class Steering(Protocol):
    async def looked(self, who: Principal, name: str, project: str | None) -> Mapping[str, Any]: ...

    async def done(
        self, who: Principal, name: str, project: str | None, what: What, level: int = 1
    ) -> Mapping[str, Any]:
        """Give ``node``, ``commands`` and the ``tunnel`` as it is then; raises Unavailable."""
        ...

    async def log(
        self, who: Principal, name: str, project: str | None, last: int, since: float
    ) -> Mapping[str, Any]:
        """Give ``items`` after a moment, and ``without``: why what its daemon wrote is not among them."""
        ...


@router.post("/nodes/{name}/tunnels", status_code=204, openapi_extra=described(Tunnels))
async def told(
    cases: Cases, who: FollowingNode, name: NodeName, body: Annotated[Tunnels, body_of(Tunnels)]
) -> Response:
    """Take in what a node says of its gateways and of the tunnels in them."""
    await cases.tunnels.told(who, body)
    return Response(status_code=204)


@router.get("/tunnels")
async def listed(cases: Cases, who: Reader, page: Paging, project: Text = None) -> JSONResponse:
    """List how every declared connection does, whoever declared it in whichever words."""
    items = list(await cases.tunnels.listed(who, project, page.limit, words(page, 3)))
    last = items[-1] if len(items) == page.limit else None
    behind = None if last is None else cursor(last["project"], last["name"], last["id"])
    return JSONResponse({"items": items, "next": behind})


@router.get("/vpn/{name}/status")
async def status(
    cases: Cases, who: Reader, name: TunnelName, project: Text = None, fresh: Fresh = False
) -> JSONResponse:
    """Say how one connection does: phase and since when, why it is not up and what to do, its keys, its
    algorithms, and what it carried."""
    found = cases.steering.looked if fresh else cases.tunnels.found
    return JSONResponse(dict(await found(who, name, project)))


@router.get("/vpn/{name}/log")
async def log(
    cases: Cases,
    who: Reader,
    name: TunnelName,
    project: Text = None,
    last: Annotated[int, Query(ge=1, le=1000)] = 100,
    since: Annotated[float, Query(ge=0, description="Unix time: only what came after it")] = 0.0,
) -> JSONResponse:
    """Say what happened to one connection, the oldest first: its phases, what people did with it, and what
    its daemon wrote of it; where its node cannot give that, ``without`` says why."""
    return JSONResponse({**await cases.steering.log(who, name, project, last, since), "next": None})


@router.post("/vpn/{name}/initiate")
async def initiate(cases: Cases, who: Changer, name: TunnelName, project: Text = None) -> JSONResponse:
    """Have a connection come up now; answers once it is up, or with the reason why it does not."""
    return JSONResponse(dict(await cases.steering.done(who, name, project, "initiate")))


@router.post("/vpn/{name}/terminate")
async def terminate(cases: Cases, who: Changer, name: TunnelName, project: Text = None) -> JSONResponse:
    """End a connection's tunnels; it stays declared, and comes up again when it is needed or initiated."""
    return JSONResponse(dict(await cases.steering.done(who, name, project, "terminate")))


@router.post("/vpn/{name}/debug")
async def debug(
    cases: Cases,
    who: Changer,
    name: TunnelName,
    project: Text = None,
    level: Annotated[int, Query(ge=-1, le=4)] = 2,
) -> JSONResponse:
    """Have the daemon of a connection's gateway write more, or less, into its log; gives the ``commands``
    that look inside it on its node."""
    return JSONResponse(dict(await cases.steering.done(who, name, project, "verbosity", level)))
