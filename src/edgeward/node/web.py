"""The node's own pages, /metrics, /healthz, /readyz: on its Unix socket and where ``listen.metrics`` says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edgeward.gateway.model import Address
from edgeward.log import logger
from edgeward.node.certificates.answering import Answering
from edgeward.node.envoy.admin import EnvoyAdmin
from edgeward.node.listening import serve, unix_socket
from edgeward.node.metrics import Metrics
from edgeward.node.state import State

log = logger(__name__)
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_RETRY_SECONDS = 5.0


class Web:
    """Serves until its task is cancelled; ``changed()`` has ``listen.metrics`` read again."""

    def __init__(self, state: State, metrics: Metrics, answering: Answering, envoy: EnvoyAdmin) -> None:
        self._state = state
        self._metrics = metrics
        self._answering = answering
        self._envoy = envoy
        self._due = asyncio.Event()
        self._servers: dict[str, asyncio.Task[None]] = {}
        self.problems: dict[str, str] = {}
        """Addresses that could not be listened on, with the reason."""
        pages = [
            Route("/metrics", self._figures),
            Route("/healthz", self._healthy),
            Route("/readyz", self._ready),
        ]
        self._app = Starlette(routes=pages)

    async def run(self, path: Path) -> None:
        """Serve on the Unix socket and follow ``listen.metrics``, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(self._app, unix_socket(path)))
            while True:
                self._follow(group, set(self._state.listen.metrics))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_SECONDS if self.problems else None):
                        await self._due.wait()
                self._due.clear()

    def changed(self) -> None:
        self._due.set()

    def _follow(self, group: asyncio.TaskGroup, wanted: set[str]) -> None:
        for address in self._servers.keys() - wanted:
            self._servers.pop(address).cancel()
        self.problems = {}
        for address in sorted(wanted - self._servers.keys()):
            try:
                listening = _tcp_socket(Address.parse(address))
            except OSError as error:
                self.problems[address] = f"cannot listen on {address} for metrics: {error.strerror}"
                log.error("metrics address", problem=self.problems[address])
                continue
            self._servers[address] = group.create_task(serve(self._app, listening))

    # --- pages --------------------------------------------------------------------------------

    async def _figures(self, _: Request) -> Response:
        text = self._metrics.text(time.time(), await self._envoy.seen())
        return Response(text, media_type=_EXPOSITION)

    async def _healthy(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _: Request) -> Response:
        lacking = list(self._lacking())
        return JSONResponse({"ready": not lacking, "lacking": lacking}, 503 if lacking else 200)

    def _lacking(self) -> Iterator[str]:
        if self._state.revision == 0:
            yield "no state yet: neither the controller nor the sealed copy gave one"
        if self._answering.in_force is None:
            yield "Envoy has not taken the state in"


def _tcp_socket(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address.host, address.port))
        listening.listen()  # bound alone, it would be refused only when it is served
    except OSError:
        listening.close()
        raise
    return listening
