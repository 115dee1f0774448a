"""The facade itself: an ASGI app with two routes that closes every connection.

A server name with CR LF in it splits the client's request in two, and on a kept connection the hidden second
one would be carried out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from starlette.types import Receive, Scope, Send

from edgeward.api import reading
from edgeward.api.openresty import payload, request
from edgeward.api.openresty.request import Asked, Declined
from edgeward.certificates.model import Kept
from edgeward.errors import EdgewardError, Invalid, NotFound, Refused
from edgeward.log import logger
from edgeward.secret import Secret

_BODY_SECONDS: Final = 5.0
_log = logger("edgeward.api.openresty")

Observe = Callable[[str, str, int, float], None]
Answer = tuple[int, Mapping[str, Any]]


class Ordering(Exception):
    """The order goes on behind the client's back; its gateways hear of the certificate by a flush."""


class OpenRestyCertificates(Protocol):
    """The use cases of the facade. Both raise NotFound, Refused and Unavailable."""

    async def found(self, name: str) -> Kept:
        """Give the certificate that serves a canonical name now."""
        ...

    async def obtained(self, name: str) -> Kept:
        """Give it, obtained where policy allows; raises Ordering where that takes longer than one waits."""
        ...


class OpenRestyApp:
    """``secret`` gives the first part of the path; None while the facade is off."""

    def __init__(
        self,
        cases: OpenRestyCertificates,
        secret: Callable[[], Secret[str] | None],
        observe: Observe = lambda *_: None,
    ) -> None:
        self._cases = cases
        self._secret = secret
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.monotonic()
        route, (status, body) = await self._answer(scope, receive)
        self._observe(scope["method"], f"openresty {route or 'none'}", status, time.monotonic() - began)
        await _send(send, status, body)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[str | None, Answer]:
        secret = self._secret()
        if secret is None:
            return None, (503, payload.miss("this is off"))
        try:
            asked = request.read(
                scope["method"], scope["raw_path"], scope.get("query_string", b""), secret.reveal()
            )
            if asked.route == "autocert":
                asked = Asked("autocert", request.read_body(await _body(receive)))
        except Declined as declined:
            return declined.route, (declined.status, payload.miss(declined.message))
        return asked.route, await self._certificate(asked)

    async def _certificate(self, asked: Asked) -> Answer:
        try:
            if asked.route == "lookup":
                kept = await self._cases.found(asked.name)
            else:
                kept = await self._cases.obtained(asked.name)
        except Ordering:
            return 202, payload.miss(f"{asked.name} is being ordered; a flush tells when it is there")
        except (NotFound, Refused) as error:
            return 404, payload.miss(str(error))
        except Invalid as error:
            return 400, payload.miss(str(error))
        except EdgewardError as error:
            return 503, payload.miss(str(error))
        except Exception:
            _log.exception("request of an OpenResty client failed", name=asked.name)
            return 500, payload.miss("this is a defect of Edgeward; the controller's log tells more")
        return 200, payload.hit(asked.name, kept.certificate)


async def _body(receive: Receive) -> bytes:
    def refusal(status: int, sentence: str) -> Declined:
        return Declined(status, sentence, "autocert")

    return await reading.body(receive, request.MOST_BODY, _BODY_SECONDS, refusal)


async def _send(send: Send, status: int, content: Mapping[str, Any]) -> None:
    body = json.dumps(content, separators=(",", ":")).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
