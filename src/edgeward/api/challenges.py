"""What authorities ask of names, over HTTP: for nodes, which answer it."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.principal import Cases, Who

router = APIRouter(prefix="/v1/challenges", tags=["certificates"])


class Challenges(Protocol):
    async def answered(self, who: Principal, kind: str, key: str) -> str:
        """Give the key authorization; raises NotFound where there is no such challenge."""
        ...


@router.get("/{type}/{key}")
async def found(
    cases: Cases,
    who: Who,
    type: Literal["http-01", "tls-alpn-01"],
    key: Annotated[str, Path(min_length=1, max_length=300, pattern=r"^[A-Za-z0-9_.-]+$")],
) -> JSONResponse:
    """Give a node what to answer an authority with (RFC 8555 8): ``key`` is the token, or the name."""
    require(who, Right.FOLLOW, node=who.node)
    value = await cases.challenges.answered(who, type, key)
    content = {"type": type, "key": key, "value": value}
    return JSONResponse(content, headers={"Cache-Control": "no-store"})
