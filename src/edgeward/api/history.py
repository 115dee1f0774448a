"""The history over HTTP: revisions, their changes, what was then, and rollback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Depends, Path
from fastapi.responses import JSONResponse
from pydantic import Field

from edgeward.access.model import Principal
from edgeward.api.bodies import body_of, described
from edgeward.api.pages import Paging, Text, cursor, number
from edgeward.api.preconditions import Expected, etag
from edgeward.api.principal import Cases, Changer, Reader
from edgeward.api.routes import Routes
from edgeward.api.whole import change_shown
from edgeward.declaration.history import Made, Revision
from edgeward.declaration.model import Applied, Key
from edgeward.parsing import Value

router = Routes(prefix="/v1/history", tags=["history"])
_SHOWN_OBJECTS = 20

Number = Annotated[int, Path(ge=0, le=10**15)]


@dataclass(frozen=True)
class About:
    """What part of the history is asked for; None: all of it that may be seen."""

    project: str | None = None
    kind: str | None = None
    name: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Rollback:
    """``match``: only while the declared state is at one of these revisions."""

    about: About
    dry_run: bool = False
    match: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Listed:
    """A page of revisions; ``oldest`` is how far the history reaches, ``declared`` what the ETag says."""

    revisions: Sequence[Revision]
    oldest: int
    declared: int


@dataclass(frozen=True)
class Found:
    revision: Revision
    changes: Sequence[Made]


@dataclass(frozen=True)
class Then:
    """One object as it was."""

    key: Key
    value: Mapping[str, Any]
    source: str


@dataclass(frozen=True)
class RolledBack:
    """``notes`` say what people have to know of it: files that bring their own version back."""

    applied: Applied
    notes: tuple[str, ...] = ()


class History(Protocol):
    async def listed(self, who: Principal, about: About, limit: int, before: int | None) -> Listed: ...

    async def found(
        self, who: Principal, revision: int, about: About, limit: int, after: int | None
    ) -> Found: ...

    async def was(self, who: Principal, revision: int, about: About) -> Then: ...

    async def exported(
        self, who: Principal, revision: int, project: str | None, source: str | None
    ) -> Mapping[str, Any]: ...

    async def rolled_back(self, who: Principal, revision: int, asked: Rollback) -> RolledBack: ...


class RollbackBody(Value):
    """What to roll back; all of it that the token may change where nothing is said."""

    project: Annotated[str | None, Field(max_length=100)] = None
    kind: Annotated[str | None, Field(max_length=40)] = None
    name: Annotated[str | None, Field(max_length=260)] = None
    dry_run: bool = False


def _about(project: Text = None, kind: Text = None, name: Text = None, source: Text = None) -> About:
    return About(project, kind, name, source)


Asked = Annotated[About, Depends(_about)]


@router.get("")
async def listed(cases: Cases, who: Reader, about: Asked, page: Paging) -> JSONResponse:
    """List revisions, the newest first; with ``kind`` and ``name`` those of one object, with its changes.

    ``oldest`` is the oldest revision to go back to. The ETag is that of the declared state.
    """
    found = await cases.history.listed(who, about, page.limit, number(page))
    full = len(found.revisions) == page.limit
    following = cursor(str(found.revisions[-1].revision)) if full else None
    items = [_shown(revision) for revision in found.revisions]
    body = {"items": items, "next": following, "oldest": found.oldest}
    return JSONResponse(body, headers={"ETag": etag(found.declared)})


@router.get("/{revision}")
async def found(cases: Cases, who: Reader, revision: Number, about: Asked, page: Paging) -> JSONResponse:
    """Give one revision with what it changed, from what to what."""
    found = await cases.history.found(who, revision, about, page.limit, number(page))
    following = cursor(str(found.changes[-1].place)) if len(found.changes) == page.limit else None
    items = [change_shown(made.change) for made in found.changes]
    return JSONResponse({**_shown(found.revision), "items": items, "next": following})


@router.get("/{revision}/{kind}/{name}")
async def was(
    cases: Cases,
    who: Reader,
    revision: Number,
    kind: Annotated[str, Path(max_length=40)],
    name: Annotated[str, Path(min_length=1, max_length=260, pattern=r"^[^\x00-\x1f\x7f/]+$")],
    project: Text = None,
) -> JSONResponse:
    """Give one object as it was right after a revision."""
    then = await cases.history.was(who, revision, About(project, kind, name))
    key = then.key
    place = {"kind": key.kind, "project": key.project, "name": key.name}
    return JSONResponse({**place, "source": then.source, "value": dict(then.value)})


@router.post("/{revision}/rollback", openapi_extra=described(RollbackBody))
async def rollback(
    cases: Cases,
    who: Changer,
    revision: Number,
    expected: Expected,
    body: Annotated[RollbackBody, body_of(RollbackBody)],
) -> JSONResponse:
    """Make everything declared, or a part of it, what it was right after a revision: all of it or nothing.

    It is a revision of its own and can be rolled back. ``If-Match`` with the ETag of the history or of an
    export refuses when anything was changed since.
    """
    about = About(body.project, body.kind, body.name)
    done = await cases.history.rolled_back(who, revision, Rollback(about, body.dry_run, expected.match))
    return await asyncio.to_thread(_of_rollback, done)  # there may be a hundred thousand changes


def _of_rollback(done: RolledBack) -> JSONResponse:
    changes = [change_shown(change) for change in done.applied.changes]
    body = {"revision": done.applied.revision, "changes": changes, "notes": list(done.notes)}
    return JSONResponse(body)


def _shown(revision: Revision) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "revision": revision.revision,
        "at": revision.at,
        "who": revision.who,
        "source": revision.source,
        "rolled_back_to": revision.rolled_back_to,
        "created": revision.created,
        "changed": revision.changed,
        "deleted": revision.deleted,
        "objects": [{"action": a, "key": key} for a, key in revision.objects[:_SHOWN_OBJECTS]],
    }
    if revision.changes:
        shown["changes"] = [change_shown(made.change) for made in revision.changes]
    return shown
