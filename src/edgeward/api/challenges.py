"""What authorities ask of names, over HTTP: for nodes, which answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from fastapi.responses import JSONResponse

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.principal import Cases, Who
from edgeward.api.routes import Routes
from edgeward.certificates.acme.challenges import Answer

router = Routes(prefix="/v1/challenges", tags=["certificates"])


class Challenges(Protocol):
    async def answered(self, who: Principal) -> Sequence[Answer]:
        """Give all there are now."""
        ...


@router.get("")
async def answers(cases: Cases, who: Who) -> JSONResponse:
    """Give a node what to answer authorities with (RFC 8555 8): ``key`` is the token, or the name."""
    require(who, Right.FOLLOW, node=who.node)
    items = [asdict(answer) for answer in await cases.challenges.answered(who)]
    return JSONResponse({"items": items}, headers={"Cache-Control": "no-store"})
