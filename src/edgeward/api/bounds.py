"""Around every request: how large a body may be, and what is counted and logged of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeward.api.problems import problem
from edgeward.log import logger

MOST_BODY: Final = 8 * 1024 * 1024
MOST_DOCUMENT: Final = 80 * 1024 * 1024
"""For ``/v1/apply``: 64 MB of document as a JSON string."""
_log = logger("edgeward.api")

Observe = Callable[[str, str, int, float], None]
"""Told of each answer: method, route, status, seconds."""


class BoundedBodies:
    """Answers 413 to a body over the bound, before it is read where its length is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MOST_DOCUMENT if scope["path"] == "/v1/apply" else MOST_BODY
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if announced.isdigit() and int(announced[:18]) > most:
            refusal = problem(413, "Too large", _sentence(most), headers={"Connection": "close"})
            await refusal(scope, receive, send)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, _sentence(most), {"Connection": "close"})
            return message

        await self._app(scope, bounded, send)


class Observed:
    """Tells ``observe`` of every answer, and logs those to people who change something."""

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._note(scope, status, time.monotonic() - started)
            await send(message)

        await self._app(scope, receive, noted)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        path = getattr(route, "path", "none")
        self._observe(scope["method"], path, status, seconds)
        who = scope.get("state", {}).get("who")
        ours = who is not None and who.role == "node"
        tell = _log.debug if ours or scope["method"] in ("GET", "HEAD", "OPTIONS") else _log.info
        tell(
            "api request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            who=getattr(who, "name", None),
        )


def _sentence(most: int) -> str:
    return f"a body has at most {most // 1024**2} MB here"
