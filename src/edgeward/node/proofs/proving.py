"""The two sockets by which Envoy has an authority's checks of names answered, whoever ordered."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from edgeward.gateway.envoy.proofs import HTTP_SOCKET, KNOWN, TLS_SOCKET
from edgeward.node.listening import serve, unix_socket
from edgeward.node.proofs import alpn
from edgeward.node.proofs.challenges import Challenges

_PATH: Final = re.compile(r"/\.well-known/acme-challenge/([A-Za-z0-9_-]{16,256})", re.ASCII)
_MOST: Final = 600


class Proving:
    """Serves until its task is cancelled."""

    def __init__(self, challenges: Challenges) -> None:
        self._challenges = challenges

    async def run(self, directory: Path) -> None:
        """Serve both sockets in this directory, for ever."""
        listening = unix_socket(directory / TLS_SOCKET)
        try:
            server = await asyncio.start_unix_server(self._handshake, sock=listening)
            async with server:
                await serve(self._page, unix_socket(directory / HTTP_SOCKET), _MOST)
        finally:
            listening.close()

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        token = _PATH.fullmatch(request.url.path)
        authorization = None
        if token is not None and request.method in ("GET", "HEAD"):
            authorization = await self._challenges.find("http-01", token[1])
        go_on = PlainTextResponse("")
        response = go_on if authorization is None else PlainTextResponse(authorization, KNOWN)
        await response(scope, receive, send)

    async def _handshake(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await alpn.answer(reader, writer, lambda name: self._challenges.find("tls-alpn-01", name))
