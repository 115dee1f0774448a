"""The declared objects, one by one: ``/v1/{kind}`` and ``/v1/{kind}/{name}`` for every kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from fastapi.responses import JSONResponse

from edgeward.access.decide import right_to_change
from edgeward.access.model import EVERY_PROJECT, Principal
from edgeward.api.bodies import described, json_body
from edgeward.api.pages import Filtering, Paging, Text, cursor, words
from edgeward.api.preconditions import Expected, etag
from edgeward.api.principal import Cases, Reader, Who, needs
from edgeward.api.routes import Routes
from edgeward.declaration import document
from edgeward.declaration.model import DEFAULT_PROJECT, Key, Kind, Stored

ObjectName = Annotated[str, Path(min_length=1, max_length=260, pattern=r"^[^\x00-\x1f\x7f/]+$")]
_MADE: dict[int | str, dict[str, Any]] = {
    201: {"description": "Made", "content": {"application/json": {"schema": {"type": "object"}}}}
}
TakeOver = Annotated[bool, Query(description="take the object over from the source it belongs to")]


def routers(kinds: Mapping[str, Kind]) -> list[Routes]:
    """Give the routes of every kind."""
    return [_single(kind) if kind.single else _many(kind) for kind in kinds.values()]


def shown(stored: Stored, kind: Kind) -> dict[str, Any]:
    """Give an object as the API shows it."""
    return {
        "kind": stored.key.kind,
        "project": stored.key.project,
        "name": stored.key.name,
        "source": stored.source,
        "revision": stored.revision,
        "value": document.shown(stored.value, kind),
    }


@cache  # an app of its own for each test would have them all built anew
def _many(kind: Kind) -> Routes:
    router = Routes(prefix=f"/v1/{kind.name}", tags=[kind.name])
    changer = [needs(right_to_change(kind.name))]

    @router.get("", name=f"list {kind.name}")
    async def listed(cases: Cases, who: Reader, where: Filtering, page: Paging) -> JSONResponse:
        """List objects of this kind, by name."""
        found = await cases.declarations.listed(who, kind.name, where, page.limit, words(page, 2))
        full = len(found) == page.limit
        following = cursor(found[-1].key.name, found[-1].key.project) if full else None
        return JSONResponse({"items": [shown(s, kind) for s in found], "next": following})

    @router.get("/{name}", name=f"get one of {kind.name}")
    async def found(
        cases: Cases, who: Reader, name: ObjectName, expected: Expected, project: Text = None
    ) -> Response:
        """Give one object, with its ETag."""
        stored = await cases.declarations.found(who, kind.name, name, project)
        return _answer(stored, kind, unchanged=stored.revision in (expected.unless or ()))

    @router.put(
        "/{name}",
        name=f"put one of {kind.name}",
        dependencies=changer,
        responses=_MADE,
        openapi_extra=described(kind.model),
    )
    async def put(
        request: Request,
        cases: Cases,
        who: Who,
        name: ObjectName,
        expected: Expected,
        project: Text = None,
        take_over: TakeOver = False,
    ) -> Response:
        """Declare an object, or change the one that is there; it is checked like a file."""
        key = Key(kind.name, project or _own_project(who), name)
        value = await json_body(request)
        stored, made = await cases.declarations.put(who, key, value, expected, take_over)
        return _answer(stored, kind, 201 if made else 200)

    @router.delete("/{name}", name=f"delete one of {kind.name}", dependencies=changer, status_code=204)
    async def deleted(
        cases: Cases,
        who: Who,
        name: ObjectName,
        expected: Expected,
        project: Text = None,
        take_over: TakeOver = False,
    ) -> Response:
        """Delete an object that nothing else names."""
        await cases.declarations.deleted(who, kind.name, name, project, expected, take_over)
        return Response(status_code=204)

    return router


@cache
def _single(kind: Kind) -> Routes:
    router = Routes(prefix=f"/v1/{kind.name}", tags=[kind.name])
    changer = [needs(right_to_change(kind.name))]
    key = Key(kind.name, DEFAULT_PROJECT, kind.name)

    @router.get("", name=f"get {kind.name}")
    async def found(cases: Cases, who: Reader, expected: Expected) -> Response:
        """Give what is declared, with its ETag."""
        stored = await cases.declarations.found(who, kind.name, kind.name, DEFAULT_PROJECT)
        return _answer(stored, kind, unchanged=stored.revision in (expected.unless or ()))

    @router.put(
        "",
        name=f"put {kind.name}",
        dependencies=changer,
        responses=_MADE,
        openapi_extra=described(kind.model),
    )
    async def put(
        request: Request, cases: Cases, who: Who, expected: Expected, take_over: TakeOver = False
    ) -> Response:
        """Declare this, in place of what is there."""
        value = await json_body(request)
        stored, made = await cases.declarations.put(who, key, value, expected, take_over)
        return _answer(stored, kind, 201 if made else 200)

    @router.delete("", name=f"delete {kind.name}", dependencies=changer, status_code=204)
    async def deleted(cases: Cases, who: Who, expected: Expected, take_over: TakeOver = False) -> Response:
        """Go back to the defaults."""
        await cases.declarations.deleted(who, kind.name, kind.name, DEFAULT_PROJECT, expected, take_over)
        return Response(status_code=204)

    return router


def _own_project(who: Principal) -> str:
    return DEFAULT_PROJECT if who.project == EVERY_PROJECT else who.project


def _answer(stored: Stored, kind: Kind, status: int = 200, unchanged: bool = False) -> Response:
    headers = {"ETag": etag(stored.revision)}
    if unchanged:
        return Response(status_code=304, headers=headers)
    return JSONResponse(shown(stored, kind), status, headers)
