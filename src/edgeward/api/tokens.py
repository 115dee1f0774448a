"""Tokens: made (and shown once), listed, revoked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Response
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, Field

from edgeward.access.model import EVERY_PROJECT, Role, Token
from edgeward.api.bodies import body_of, described
from edgeward.api.pages import Paging, cursor, words
from edgeward.api.principal import Administrator, Cases
from edgeward.api.routes import Routes
from edgeward.gateway.model import duration
from edgeward.parsing import Name, Value
from edgeward.placement import Labels

router = Routes(prefix="/v1/tokens", tags=["tokens"])


class NewToken(Value):
    """``project`` is one project or ``*``; ``expires_in`` is seconds or like ``12h``, None for never."""

    name: Name
    role: Role
    project: Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,99})$")] = EVERY_PROJECT
    expires_in: (
        Annotated[float, BeforeValidator(duration), Field(ge=1, le=10 * 365 * 86400, allow_inf_nan=False)]
        | None
    ) = None
    labels: Labels = {}
    """Of a join token: what nodes that join with it are labelled; ``name`` binds it to that name."""


@router.post("", status_code=201, openapi_extra=described(NewToken))
async def mint(
    cases: Cases, who: Administrator, body: Annotated[NewToken, body_of(NewToken)]
) -> JSONResponse:
    """Make a token; this answer is the only place that ever shows it."""
    token, text = await cases.tokens.minted(
        who, body.name, body.role, body.project, body.expires_in, body.labels
    )
    return JSONResponse({**_shown(token), "token": text}, 201, {"Cache-Control": "no-store"})


@router.get("")
async def listed(cases: Cases, who: Administrator, page: Paging) -> JSONResponse:
    """List the tokens you may revoke, never their secrets."""
    after = words(page, 1)
    found = await cases.tokens.listed(who, page.limit, after[0] if after else None)
    following = cursor(found[-1].name) if len(found) == page.limit else None
    return JSONResponse({"items": [_shown(t) for t in found], "next": following})


@router.delete("/{id_or_name}", status_code=204)
async def revoke(
    cases: Cases,
    who: Administrator,
    id_or_name: Annotated[str, Path(max_length=100, pattern=r"^[A-Za-z0-9._-]+$")],
) -> Response:
    """Revoke a token; it stops working at once."""
    await cases.tokens.revoked(who, id_or_name)
    return Response(status_code=204)


def _shown(token: Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in Token.__dataclass_fields__}
