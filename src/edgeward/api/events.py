"""What happens, as server-sent events (WHATWG HTML 9.2): read on from any id, without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from fastapi import Header, Query
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from edgeward.access.model import Principal
from edgeward.api.pages import Text
from edgeward.api.principal import Cases, Reader
from edgeward.api.routes import Routes
from edgeward.declaration.events import TYPES, Event
from edgeward.errors import Invalid, Problem

router = Routes(prefix="/v1/events", tags=["events"])
_STUCK: Final = 60.0
_LONGEST_ID: Final = 15
RETRY_MILLISECONDS: Final = 2000


@dataclass(frozen=True)
class Follow:
    """``after``: the id to go on behind; else the newest ``last`` are given first. Not ``on``: then end."""

    types: tuple[str, ...] = TYPES
    project: str | None = None
    after: int | None = None
    last: int = 0
    on: bool = True


class Events(Protocol):
    async def followed(self, who: Principal, wanted: Follow) -> AsyncGenerator[bytes, None]:
        """Give what is sent, until the token, the reader or the program ends; raises Unavailable."""
        ...


class EventStream(StreamingResponse):
    """Ends for a reader that takes nothing for a minute: others wait for the place."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        super().__init__(lines, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bounded(message: Message) -> None:
            async with asyncio.timeout(_STUCK):
                await send(message)

        try:
            await super().__call__(scope, receive, bounded)
        except (TimeoutError, ClientDisconnect):
            pass  # it goes on where it was, or never
        finally:
            await self.lines.aclose()


_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "id": {"type": "string", "description": "to go on behind, as Last-Event-ID"},
        "event": {"type": "string", "enum": [*TYPES, "reset"]},
        "data": {"type": "string", "description": "a JSON object"},
        "retry": {"type": "integer"},
    },
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {"schema": _SCHEMA}}}
}


@router.get("", response_class=EventStream, status_code=200, responses=_ANSWERS)
async def events(
    cases: Cases,
    who: Reader,
    types: Annotated[str | None, Query(max_length=100, description="change, node, openresty, tunnel")] = None,
    project: Text = None,
    after: Annotated[int | None, Query(ge=0, lt=10**_LONGEST_ID, description="an event's id")] = None,
    last: Annotated[int, Query(ge=0, le=1000, description="begin with that many of the past")] = 0,
    follow: Annotated[bool, Query(description="go on when everything so far was sent")] = True,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> EventStream:
    """Follow what happens: ``change`` events of revisions, ``node`` events of nodes, ``openresty`` events of
    what keeps OpenResty gateways up to date, ``tunnel`` events of connections that come up and go down.

    ``Last-Event-ID``, or ``after``, goes on behind an event, at any controller, without a gap; where that
    is too long ago, an event ``reset`` says so first, and who mirrors the state has to read it anew.
    """
    resumed = _id(last_event_id) if last_event_id else after
    wanted = Follow(_types(types), project, resumed, last, follow)
    return EventStream(await cases.events.followed(who, wanted))


def sent(event: Event) -> bytes:
    return _block(event.type, event.id, event.data)


def reset(position: int, reason: str) -> bytes:
    """Say that events are missing before those that follow."""
    return _block("reset", position, {"reason": reason, "after": position})


def place(position: int, comment: str, retry: bool = False) -> bytes:
    """Give a comment that also moves the reader's id on, over events that are not for it."""
    waits = f"retry: {RETRY_MILLISECONDS}\n" if retry else ""
    return f": {comment}\n{waits}id: {position}\n\n".encode()


def _block(kind: str, position: int, data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":"))  # of one line: JSON escapes line ends
    return f"id: {position}\nevent: {kind}\ndata: {text}\n\n".encode()


def _types(text: str | None) -> tuple[str, ...]:
    if text is None:
        return TYPES
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not set(found) <= set(TYPES):
        raise Invalid(Problem("types", f"write some of {', '.join(TYPES)}, with commas between"))
    return found


def _id(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_ID:
        return int(text)
    raise Invalid(Problem("Last-Event-ID", "is no id of these events; leave it out to begin now"))
