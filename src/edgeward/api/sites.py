"""Sites: what their other side is to be told, and what a change would do to live tunnels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import Query
from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.bodies import body_of, described
from edgeward.api.pages import Text
from edgeward.api.principal import Cases, Changer, Reader
from edgeward.api.routes import Routes
from edgeward.api.tunnels import TunnelName
from edgeward.api.usecases import ApplyRequest
from edgeward.api.whole import Apply
from edgeward.vpn.other_side import Form

router = Routes(prefix="/v1/vpn", tags=["tunnels"])


class Sites(Protocol):
    async def peer_config(
        self, who: Principal, name: str, project: str | None, form: Form
    ) -> Mapping[str, Any]: ...

    async def plan(self, who: Principal, request: ApplyRequest) -> Mapping[str, Any]: ...


@router.get("/{name}/peer-config")
async def peer_config(
    cases: Cases,
    who: Reader,
    name: TunnelName,
    form: Annotated[Form, Query(alias="for", description="whose configuration it is to be")] = "sheet",
    project: Text = None,
) -> JSONResponse:
    """Give the configuration of a connection's other side. Its secret is never in it: ``secret`` says which
    word stands in its place."""
    return JSONResponse(dict(await cases.sites.peer_config(who, name, project, form)))


@router.post("/plan", openapi_extra=described(Apply))
async def plan(cases: Cases, who: Changer, body: Annotated[Apply, body_of(Apply)]) -> JSONResponse:
    """Say what applying a document would do to live tunnels; nothing is changed."""
    wanted = ApplyRequest(body.source, body.document, body.keep, body.take_over, dry_run=True)
    return JSONResponse(dict(await cases.sites.plan(who, wanted)))
