"""Who has a gateway active: nodes ask each second, and people and keepalived decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi.responses import JSONResponse
from pydantic import Field

from edgeward.access.model import Principal
from edgeward.api.bodies import body_of, described
from edgeward.api.nodes import NodeName
from edgeward.api.pages import Text
from edgeward.api.principal import Cases, Changer, FollowingNode
from edgeward.api.routes import Routes
from edgeward.api.tunnels import TunnelName
from edgeward.declaration.feed import Claim, Granted
from edgeward.parsing import Value

router = Routes(prefix="/v1", tags=["tunnels"])


class Holding(Protocol):
    async def granted(self, who: Principal, claim: Claim) -> Granted: ...

    async def promoted(
        self, who: Principal, name: str, node: str, project: str | None
    ) -> Mapping[str, Any]: ...


class Promotion(Value):
    """Which node is to have it active."""

    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


@router.post("/nodes/{name}/gateways", response_model=Granted, openapi_extra=described(Claim))
async def granted(
    cases: Cases, who: FollowingNode, name: NodeName, body: Annotated[Claim, body_of(Claim)]
) -> JSONResponse:
    """Give a node the gateways that it has active among those that others may have too."""
    return JSONResponse((await cases.holding.granted(who, body)).model_dump(mode="json"))


@router.post("/vpn/{name}/promote", openapi_extra=described(Promotion))
async def promoted(
    cases: Cases,
    who: Changer,
    name: TunnelName,
    body: Annotated[Promotion, body_of(Promotion)],
    project: Text = None,
) -> JSONResponse:
    """Have a node take over the gateway that carries a connection, as keepalived does when it is elected."""
    return JSONResponse(dict(await cases.holding.promoted(who, name, body.node, project)))
