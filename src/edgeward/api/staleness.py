"""Marks answers given from memory while the database cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = b"edgeward-stale-since"

StaleSince = Callable[[], float | None]
"""Gives since when (Unix seconds) answers are from memory; None while they are not."""


class Marked:
    """Adds ``Edgeward-Stale-Since`` to what is answered without the database."""

    def __init__(self, app: ASGIApp, stale_since: StaleSince) -> None:
        self._app = app
        self._stale_since = stale_since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            since = self._stale_since() if message["type"] == "http.response.start" else None
            if since is not None:
                message = {**message, "headers": [*message["headers"], (HEADER, moment(since).encode())]}
            await send(message)

        await self._app(scope, receive, marked)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
