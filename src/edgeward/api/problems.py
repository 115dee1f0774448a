"""Errors as RFC 9457 problem documents: the one place that turns a kind of error into a status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edgeward.access.model import Throttled, Unauthenticated
from edgeward.certificates.on_demand.budgets import Exhausted
from edgeward.declaration.model import Outdated
from edgeward.errors import Conflict, EdgewardError, Invalid, NotFound, Problem, Refused, Unavailable
from edgeward.log import logger
from edgeward.parsing import join
from edgeward.sentences import sentence

_log = logger("edgeward.api")

KINDS: tuple[tuple[type[EdgewardError], int, str], ...] = (
    (Unauthenticated, 401, "Log in"),
    (Throttled, 429, "Too many failed log-ins"),
    (Outdated, 412, "Changed in the meantime"),
    (Invalid, 422, "Invalid input"),
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (Exhausted, 403, "No new names"),
    (Refused, 403, "Not allowed"),
    (Unavailable, 503, "Not available now"),
)
MEDIA_TYPE = "application/problem+json"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                    "line": {"type": ["integer", "null"]},
                    "object": {"type": ["string", "null"]},
                },
            },
        },
    },
}


def problem(
    status: int,
    title: str,
    detail: str = "",
    errors: Iterable[Problem] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Give one problem document; ``errors`` name what is wrong field by field."""
    content: dict[str, Any] = {"type": type_of(title), "title": title, "status": status}
    content["detail"] = detail or title
    content["errors"] = [_entry(e) for e in errors]
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def type_of(title: str) -> str:
    """Give the URN that stands for a title."""
    return f"urn:edgeward:problem:{title.lower().replace(' ', '-')}"


def answer_to(error: EdgewardError) -> JSONResponse:
    """Give the problem document of an error of ours."""
    status, title = next(((s, t) for kind, s, t in KINDS if isinstance(error, kind)), (500, "Internal error"))
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(error.retry_after)
    if status == 503:
        headers["Retry-After"] = "2"
    errors = error.problems if isinstance(error, Invalid) else ()
    return problem(status, title, _detail(error), errors, headers)


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""

    @app.exception_handler(EdgewardError)
    async def ours(_request: Request, error: EdgewardError) -> JSONResponse:
        return answer_to(error)

    @app.exception_handler(RequestValidationError)
    async def request_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return answer_to(Invalid(*(_of_request(e) for e in error.errors())))

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
        return problem(500, "Internal error", "this is a defect of Edgeward; the controller's log tells more")


def _detail(error: EdgewardError) -> str:
    if isinstance(error, Invalid) and len(error.problems) > 1:
        return f"{len(error.problems)} problems; see errors"
    return str(error)


def _entry(error: Problem) -> dict[str, Any]:
    return {"field": error.field, "message": error.message, "line": error.line, "object": error.object}


def _of_request(error: dict[str, Any]) -> Problem:
    place = error.get("loc", ())[1:]
    return Problem(join("", place), sentence(error))
