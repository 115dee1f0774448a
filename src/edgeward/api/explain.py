"""Why something works or does not, over HTTP: names, nodes, actions, relays, tunnels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from fastapi import Path, Query, Request
from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.actions import ActionName, Caller, OneNode, caller
from edgeward.api.nodes import NodeName
from edgeward.api.pages import Text
from edgeward.api.principal import Cases, Reader, Surveyor
from edgeward.api.routes import Routes
from edgeward.api.tunnels import TunnelName
from edgeward.errors import Invalid, Problem
from edgeward.gateway.model import Backend, Behind
from edgeward.parsing import parse

router = Routes(prefix="/v1/explain", tags=["explain"])


class Explaining(Protocol):
    async def explained(
        self, who: Principal, name: str, path: str, scheme: str = "https", port: int | None = None
    ) -> Mapping[str, Any]:
        """Give ``served``, and how, or the first ``reason`` why not with its ``remedy``, and the ``steps`` of
        a visitor's way up to the first that is broken.

        ``name`` may be ``-``: a visitor who names none (no SNI).
        """
        ...

    async def of_node(self, who: Principal, name: str) -> Mapping[str, Any]:
        """Give whether a node is ``well``, or the first ``reason`` why not, its ``remedy`` and the steps."""
        ...

    async def of_action(
        self, who: Principal, caller: Caller, name: str, node: str | None
    ) -> Mapping[str, Any]: ...

    async def of_relay(self, who: Principal, place: Behind, project: str | None) -> Mapping[str, Any]: ...

    async def of_tunnel(self, who: Principal, name: str, project: str | None) -> Mapping[str, Any]: ...


@router.get("/{name}")
async def explain(
    cases: Cases,
    who: Reader,
    name: Annotated[str, Path(min_length=1, max_length=1000)],
    path: Annotated[str, Query(min_length=1, max_length=2000, pattern="^/")] = "/",
    scheme: Literal["https", "http"] = "https",
    port: Annotated[int | None, Query(ge=1, le=65535)] = None,
) -> JSONResponse:
    """Say whether a visitor of ``name`` is served: by which domain, route, service and certificate on which
    node, until when; if not, the first reason and the remedy. ``-`` stands for visitors without SNI."""
    return JSONResponse(dict(await cases.explain.explained(who, name, path, scheme, port)))


@router.get("/nodes/{name}")
async def of_node(cases: Cases, who: Surveyor, name: NodeName) -> JSONResponse:
    """Say whether a node is well, step by step up to the first that is broken, with cause and remedy."""
    return JSONResponse(dict(await cases.explain.of_node(who, name)))


@router.get("/actions/{name}")
async def of_action(
    request: Request, cases: Cases, who: Reader, name: ActionName, node: OneNode = None
) -> JSONResponse:
    """Say whether you could have root of a node run an action; it is not run."""
    return JSONResponse(dict(await cases.explain.of_action(who, caller(request), name, node)))


@router.get("/relays/{site}/{place}")
async def of_relay(
    cases: Cases,
    who: Reader,
    site: TunnelName,
    place: Annotated[str, Path(max_length=300, description="HOST:PORT")],
    project: Text = None,
) -> JSONResponse:
    """Say whether a relay leads to a place behind a site: which services need it, the tunnel, its daemon."""
    return JSONResponse(dict(await cases.explain.of_relay(who, _behind(site, place), project)))


def _behind(site: str, place: str) -> Behind:
    try:
        backend = parse(Backend, {"url": f"tcp://{place}", "via": site})
    except Invalid:
        raise Invalid(Problem("place", "write a place behind a site as HOST:PORT")) from None
    assert backend.behind is not None
    return backend.behind


@router.get("/vpn/{name}")
async def of_tunnel(cases: Cases, who: Reader, name: TunnelName, project: Text = None) -> JSONResponse:
    """Say whether a connection to a site is up; a name or an id, of whoever's words."""
    return JSONResponse(dict(await cases.explain.of_tunnel(who, name, project)))
