"""The keys that records are sealed with, over HTTP: shown by their ids, and rotated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.principal import Cases, Governor
from edgeward.api.routes import Routes

router = Routes(prefix="/v1/keys", tags=["keys"])


class Keys(Protocol):
    async def shown(self, who: Principal) -> Mapping[str, Any]: ...

    async def rotated(self, who: Principal) -> str:
        """Begin a rotation, or find one that goes on, and give the id of the new key."""
        ...


@router.get("")
async def shown(cases: Cases, who: Governor) -> JSONResponse:
    """Say with which keys records are sealed, what wraps these, and how many records still wait for it."""
    return JSONResponse(dict(await cases.keys.shown(who)))


@router.post("/rotate", status_code=202)
async def rotate(cases: Cases, who: Governor) -> JSONResponse:
    """Have all records sealed with a new key, wrapped by the present wrapping key, while all is served."""
    return JSONResponse({"id": await cases.keys.rotated(who)}, 202)
