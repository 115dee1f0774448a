"""Who sent a request, and the use cases it may reach: what every route depends on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.usecases import UseCases

_bearer = HTTPBearer(auto_error=False, description="a token of `edgeward token create`")


async def use_cases(request: Request) -> UseCases:  # else each request would go to a thread for it
    """Give what the program put together for this app."""
    cases: UseCases = request.app.state.use_cases
    return cases


Cases = Annotated[UseCases, Depends(use_cases)]


async def principal(
    request: Request, cases: Cases, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """Give whose bearer token the request carries; raises Unauthenticated or Throttled."""
    client = request.client.host if request.client else ""
    who = await cases.access.authenticate(sent.credentials if sent is not None else None, client)
    request.state.who = who
    return who


Who = Annotated[Principal, Depends(principal)]


def needs(right: Right) -> Any:
    """Give a route dependency: the caller has ``right`` somewhere, else 403 before anything is read.

    Which project it is for is decided where the object is known; FOLLOW asks for the node in the path.
    """

    async def check(request: Request, who: Who) -> Principal:
        require(who, right, node=request.path_params.get("name") if right is Right.FOLLOW else None)
        return who

    check.__name__ = f"needs_{right.name.lower()}"
    call: Callable[[Request, Principal], Awaitable[Principal]] = check
    return Depends(call)


Reader = Annotated[Principal, needs(Right.READ)]
Changer = Annotated[Principal, needs(Right.CHANGE)]
Administrator = Annotated[Principal, needs(Right.ADMINISTER)]
Surveyor = Annotated[Principal, needs(Right.SURVEY)]
Governor = Annotated[Principal, needs(Right.GOVERN)]
Joiner = Annotated[Principal, needs(Right.JOIN)]
FollowingNode = Annotated[Principal, needs(Right.FOLLOW)]
"""A node's token, for that node's own routes (``{name}`` in the path)."""
