"""Accounts at ACME authorities, over HTTP: shown without their keys, and given new keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.pages import Text
from edgeward.api.principal import Cases, Governor
from edgeward.api.routes import Routes
from edgeward.declaration.model import DEFAULT_PROJECT

router = Routes(prefix="/v1/accounts", tags=["certificates"])


class Accounts(Protocol):
    async def listed(self, who: Principal) -> Sequence[Mapping[str, Any]]: ...

    async def changed(self, who: Principal, project: str, issuer: str) -> None:
        """Give the issuer's account another key."""
        ...


@router.get("")
async def listed(cases: Cases, who: Governor) -> JSONResponse:
    """List the accounts that issuers have at authorities."""
    return JSONResponse({"items": [dict(one) for one in await cases.accounts.listed(who)], "next": None})


@router.post("/{issuer}/change-key")
async def change_key(cases: Cases, who: Governor, issuer: str, project: Text = None) -> JSONResponse:
    """Give an issuer's account a new key (RFC 8555, 7.3.5); orders under way go on."""
    await cases.accounts.changed(who, project or DEFAULT_PROJECT, issuer)
    return JSONResponse({})
