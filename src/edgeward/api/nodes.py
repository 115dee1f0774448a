"""Nodes: for people, how they are; for nodes, joining, following, reporting and answering."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from edgeward.api.bodies import body_of, described
from edgeward.api.principal import Cases, FollowingNode, Governor, Joiner, Surveyor
from edgeward.api.routes import Routes
from edgeward.declaration.feed import Answer, Identity, Join, Report, dumped
from edgeward.errors import Invalid, Problem
from edgeward.parsing import Value
from edgeward.placement import NAME, Labels

router = Routes(prefix="/v1/nodes", tags=["nodes"])

Protocol = Annotated[int, Query(ge=1, le=1000, description="what the node speaks")]
NodeName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


@router.get("")
async def listed(cases: Cases, who: Surveyor) -> JSONResponse:
    """List every node that joined, with its last report."""
    return JSONResponse({"items": list(await cases.nodes.listed(who)), "next": None})


@router.post("/join", status_code=201, response_model=Identity, openapi_extra=described(Join))
async def join(
    request: Request,
    cases: Cases,
    who: Joiner,
    body: Annotated[Join, body_of(Join)],
    protocol: Protocol = 1,
) -> JSONResponse:
    """Give a node its identity; asked with a join token."""
    identity = await cases.nodes.joined(who, body.name, str(request.base_url).rstrip("/"))
    return JSONResponse(dumped(identity, protocol), 201, {"Cache-Control": "no-store"})


@router.get("/{name}")
async def found(cases: Cases, who: Surveyor, name: NodeName) -> JSONResponse:
    """Give one node with its last report."""
    return JSONResponse(dict(await cases.nodes.found(who, name)))


@router.get("/{name}/cache")
async def cache(cases: Cases, who: Surveyor, name: NodeName) -> JSONResponse:
    """Give size, bound, hits and misses of each tier of a node's certificates."""
    node = await cases.nodes.found(who, name)
    tiers = (node["report"] or {}).get("cache", {})
    return JSONResponse({"name": name, "seen": node["seen"], "tiers": tiers})


class NewLabels(Value):
    """Everything operators say of a node."""

    labels: Labels


@router.put("/{name}/labels", openapi_extra=described(NewLabels))
async def label(
    cases: Cases, who: Governor, name: NodeName, body: Annotated[NewLabels, body_of(NewLabels)]
) -> JSONResponse:
    """Say what a node is, in place of what was said before: it serves what selects these labels."""
    if NAME in body.labels:
        raise Invalid(Problem("labels.name", "this label is the node's own name; choose another key"))
    return JSONResponse(dict(await cases.nodes.labelled(who, name, body.labels)))


@router.delete("/{name}", status_code=204)
async def forget(cases: Cases, who: Governor, name: NodeName) -> Response:
    """Forget a node and revoke its token."""
    await cases.nodes.forgotten(who, name)
    return Response(status_code=204)


@router.get("/{name}/watch", response_class=StreamingResponse)
async def watch(
    cases: Cases,
    who: FollowingNode,
    name: NodeName,
    since: Annotated[int, Query(ge=0, le=10**15)] = 0,
    store: Annotated[str, Query(max_length=36)] = "",
    protocol: Protocol = 1,
) -> StreamingResponse:
    """Follow the declared state: one JSON message a line, without end."""
    lines = await cases.nodes.watched(who, since, store, protocol)
    return StreamingResponse(lines, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


@router.get("/{name}/tier")
async def tier(cases: Cases, who: FollowingNode, name: NodeName) -> JSONResponse:
    """Give a node the keys of what it may serve in the tier in Redis, in base64."""
    keys = [base64.b64encode(key).decode() for key in await cases.nodes.opening(who)]
    return JSONResponse({"keys": keys}, headers={"Cache-Control": "no-store"})


@router.post("/{name}/report", status_code=204, openapi_extra=described(Report))
async def report(
    cases: Cases, who: FollowingNode, name: NodeName, body: Annotated[Report, body_of(Report)]
) -> Response:
    """Take in what a node says of itself."""
    await cases.nodes.reported(who, body)
    return Response(status_code=204)


@router.post("/{name}/answers", status_code=204, openapi_extra=described(Answer))
async def answer(
    cases: Cases, who: FollowingNode, name: NodeName, body: Annotated[Answer, body_of(Answer)]
) -> Response:
    """Take in a node's answer to a question of its feed."""
    await cases.nodes.answered(who, body)
    return Response(status_code=204)
