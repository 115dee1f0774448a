"""The declared state as a whole: apply, export, the audit log, and waiting until nodes serve it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from edgeward.access.model import Principal
from edgeward.api.bodies import body_of, described
from edgeward.api.pages import Filtering, Paging, Text, cursor, number
from edgeward.api.preconditions import Expected, etag
from edgeward.api.principal import Administrator, Cases, Changer, Reader
from edgeward.api.problems import answer_to
from edgeward.api.routes import Routes
from edgeward.api.usecases import ApplyRequest, Declarations
from edgeward.declaration.model import Applied, Change
from edgeward.errors import EdgewardError, Invalid
from edgeward.parsing import Value, checked

router = Routes(prefix="/v1", tags=["declaration"])


def _shown(source: str) -> str:
    """Refuse what would steer the terminals it is shown on: C1 controls, directions of writing."""
    if not source.isprintable():
        raise Invalid("a source has printable characters only")
    return source


_Shown = checked(_shown)


class Apply(Value):
    """A whole document to apply. ``document`` is YAML text, or the same as JSON."""

    source: Annotated[str, Field(pattern=r"^(api|openstack|file:[^\x00-\x1f\x7f]{1,255})$"), _Shown] = "api"
    document: str | dict[str, Any]
    keep: bool = False
    take_over: bool = False
    dry_run: bool = False


@router.post("/apply", openapi_extra=described(Apply), response_model=None)
async def apply(
    request: Request, cases: Cases, who: Changer, expected: Expected, body: Annotated[Apply, body_of(Apply)]
) -> Response:
    """Make the objects of ``source`` exactly those of the document, all or nothing.

    ``keep`` prunes nothing, ``take_over`` takes objects from other sources, ``dry_run`` only says what would
    change. ``If-Match`` with the ETag of an export refuses when anything changed since.

    Who accepts ``application/x-ndjson`` gets a line for each step (``progress``: step, done, of), then lines
    with ``changes`` and at the end one with ``applied``; or one with the ``problem``.
    """
    wanted = ApplyRequest(body.source, body.document, body.keep, body.take_over, body.dry_run, expected.match)
    if _LINES in request.headers.get("accept", ""):
        return StreamingResponse(_progress(cases.declarations, who, wanted), media_type=_LINES)
    applied = await cases.declarations.applied(who, wanted)
    return await asyncio.to_thread(_of_applied, applied)  # there may be a hundred thousand changes


_LINES: Final = "application/x-ndjson"
_CHANGES_IN_LINE: Final = 500


async def _progress(declarations: Declarations, who: Principal, wanted: ApplyRequest) -> AsyncIterator[bytes]:
    """Give a line a step; who goes away before the end has changed nothing or all."""
    steps: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def told(step: str, done: int, of: int) -> None:
        steps.put_nowait({"step": step, "done": done, "of": of})

    work = asyncio.create_task(declarations.applied(who, wanted, told))
    work.add_done_callback(lambda _task: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            yield json.dumps({"progress": step}).encode() + b"\n"
        try:
            applied = await work
        except EdgewardError as error:
            yield b'{"problem":' + bytes(answer_to(error).body) + b"}\n"
            return
        for start in range(0, len(applied.changes), _CHANGES_IN_LINE):
            part = applied.changes[start : start + _CHANGES_IN_LINE]
            yield json.dumps({"changes": [change_shown(change) for change in part]}).encode() + b"\n"
        yield json.dumps({"applied": {"revision": applied.revision}}).encode() + b"\n"
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, EdgewardError):
            await work


@router.get("/export")
async def export(
    cases: Cases,
    who: Reader,
    project: Text = None,
    source: Text = None,
    revision: Annotated[int | None, Query(ge=0, le=10**15)] = None,
) -> JSONResponse:
    """Give everything you may see as one document; its ETag is that of the whole state.

    With ``revision``, as it was right after that one: without an ETag.
    """
    if revision is not None:
        then = await cases.history.exported(who, revision, project, source)
        return await asyncio.to_thread(JSONResponse, then)
    document, revision = await cases.declarations.exported(who, project, source)
    return await asyncio.to_thread(JSONResponse, document, headers={"ETag": etag(revision)})


@router.get("/audit")
async def audit(
    cases: Cases, who: Administrator, where: Filtering, page: Paging, kind: Text = None
) -> JSONResponse:
    """Say who changed what, when, from what to what; the newest first."""
    found = await cases.declarations.audited(who, where, kind, page.limit, number(page))
    following = cursor(str(found[-1]["id"])) if len(found) == page.limit else None
    return JSONResponse({"items": list(found), "next": following})


@router.get("/wait")
async def wait(
    cases: Cases,
    who: Reader,
    revision: Annotated[int, Query(ge=0, le=10**15)],
    timeout: Annotated[float, Query(ge=0, le=300, allow_inf_nan=False)] = 30.0,
    unlike: Annotated[str | None, Query(max_length=64)] = None,
) -> JSONResponse:
    """Wait until every connected node has this revision in force or refuses it, or the time is over.

    With ``unlike``, the ``state`` of an earlier answer, until anything differs from that.
    """
    return JSONResponse(dict(await cases.nodes.waited(who, revision, timeout, unlike)))


@router.get("/status")
async def status(cases: Cases, who: Reader) -> JSONResponse:
    """Say how controller, nodes and programs are."""
    return JSONResponse(dict(await cases.seeing.status(who)))


def _of_applied(applied: Applied) -> JSONResponse:
    return JSONResponse({"revision": applied.revision, "changes": [change_shown(c) for c in applied.changes]})


def change_shown(change: Change) -> dict[str, Any]:
    """Give a change as the API shows it."""
    return {
        "action": change.action,
        "key": str(change.key),
        "kind": change.key.kind,
        "project": change.key.project,
        "name": change.key.name,
        "before": change.before,
        "after": change.after,
        "taken_from": change.taken_from,
    }
