"""The API on its addresses over TLS: started, moved and stopped while it runs; the one door to uvicorn."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edgeward.access.limit import network_of
from edgeward.errors import Invalid, Problem
from edgeward.gateway.model import Address
from edgeward.log import logger

_GRACE: Final = 5
_AGAIN: Final = 5.0
_MOST_REQUESTS: Final = 2000
_MOST_OF_ONE: Final = 500
"""Connections of one address: who takes all there are would keep the nodes out."""
_BACKLOG: Final = 512
_START_LOOKS: Final = 1000
_MOST_HEADERS: Final = 64 * 1024
_HEADER_SECONDS: Final = 15.0
_BODY_SECONDS: Final = 300.0
_REST_SECONDS: Final = 5.0
_log = logger("edgeward.controller.serving")


def listening(address: Address, field: str = "listen.api") -> socket.socket:
    """Give a socket that listens there; raises Invalid with the remedy where that cannot be."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:  # a kernel without IPv6 has no such sockets at all
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _deaf(address, field, error) from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind((address.host, address.port))
        found.listen(_BACKLOG)
        found.setblocking(False)
    except OSError as error:
        found.close()
        raise _deaf(address, field, error) from error
    return found


def _deaf(address: Address, field: str, error: OSError) -> Invalid:
    remedy = "end what listens there, or give another address"
    return Invalid(Problem(field, f"cannot listen on {address}: {os.strerror(error.errno or 0)}; {remedy}"))


class _Protocol(HttpToolsProtocol):
    """HTTP with an end to patience: uvicorn itself takes headers, trailers and bodies of any length, for any
    time, and keeps every trailer.
    """

    _waiting: asyncio.TimerHandle | None = None
    _in_body = False
    _certificate = ""
    """The name in the certificate that the client shows."""
    _unparsed = 0
    """Bytes since the last that were of use: of headers that are not complete yet, or of trailers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(_HEADER_SECONDS)
        self._certificate = _name_of(transport.get_extra_info("peercert"))
        mine = _network(self)
        if sum(_network(other) == mine for other in self.connections) > _MOST_OF_ONE:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self._wait(_HEADER_SECONDS)
        if self._unparsed > _MOST_HEADERS:  # looked at only now: a body may have come along with them
            if not self.transport.is_closing():
                self.send_400_response("Request headers are too large.")
                self._wait(_REST_SECONDS)  # TLS would wait for the other side's farewell
            return
        self._unparsed += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["edgeward.certificate"] = self._certificate  # type: ignore[typeddict-unknown-key]

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else it is a trailer, which may be left out (RFC 9110 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_body, self._unparsed = True, 0
        self._wait(_BODY_SECONDS)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body, self._unparsed = False, 0
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:  # nobody reads the rest: no use in more of it
            self._wait(_REST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _name_of(certificate: Mapping[str, Any] | None) -> str:
    """Give a certificate's first DNS name, else its common name (ssl.SSLSocket.getpeercert)."""
    if not certificate:
        return ""
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS"]
    common = [v for part in certificate.get("subject", ()) for k, v in part if k == "commonName"]
    return str(next(iter((*names, *common)), ""))


def _network(connection: Any) -> str:
    client = connection.client
    return network_of(client[0]) if client else ""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the program's

    async def _wait_tasks_to_complete(self) -> None:
        """Wait for requests under way, not for idle clients that never end their side of TLS."""
        while self.server_state.tasks and not self.force_exit:  # noqa: ASYNC110 - a set of uvicorn's
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


class Serving:
    """Serves one app on any number of addresses. ``tls`` may get another certificate at any time; None is
    plain HTTP. ``field`` is where the addresses are declared.
    """

    def __init__(self, app: Any, tls: ssl.SSLContext | None, field: str = "listen.api") -> None:
        self._app = app
        self._tls = tls
        self._field = field
        self._running: dict[str, tuple[_Server, asyncio.Task[None]]] = {}

    @property
    def addresses(self) -> Sequence[str]:
        return tuple(self._running)

    async def serve(self, addresses: Sequence[Address]) -> None:
        """Serve on exactly these; new ones are taken before old ones go.

        Raises Invalid where one cannot be had, and then changes nothing.
        """
        wanted = {str(address): address for address in addresses}
        fresh: dict[str, socket.socket] = {}
        try:
            for name, address in wanted.items():
                if name not in self._running:
                    fresh[name] = listening(address, self._field)
        except Invalid:
            for opened in fresh.values():
                opened.close()
            raise
        for name, opened in fresh.items():
            await self._start(name, opened)
        await self._stop([name for name in self._running if name not in wanted])

    async def follow(
        self, changed: asyncio.Event, adjust: Callable[[], Awaitable[None]], fails: Callable[[], bool]
    ) -> None:
        """Adjust after each change, and after a while as long as it fails, until cancelled; then stop."""
        try:
            while True:
                changed.clear()
                await adjust()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN if fails() else None):
                        await changed.wait()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Stop on every address; requests under way get some seconds."""
        await self._stop(list(self._running))

    def failed(self) -> bool:
        """Whether a server ended by itself."""
        return any(task.done() for _, task in self._running.values())

    async def _start(self, name: str, opened: socket.socket) -> None:
        tls = self._tls
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_REQUESTS,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve([opened]), name=f"{self._field} on {name}")
        self._running[name] = (server, task)
        for _ in range(_START_LOOKS):  # uvicorn has no event for having started
            if server.started or task.done():
                break
            await asyncio.sleep(0.01)
        if task.done():
            await task
        _log.info("listens", address=name, field=self._field)

    async def _stop(self, names: Sequence[str]) -> None:
        stopped = [self._running.pop(name) for name in names]
        for server, _ in stopped:
            server.should_exit = True
        tasks = [task for _, task in stopped]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_GRACE + 2)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def tls_context(clients: Path | None = None) -> ssl.SSLContext:
    """Give the server side of TLS 1.2 and up, with the ciphers of Mozilla's "intermediate" for it.

    A certificate is loaded before the first use. ``clients``: the authority (PEM) of those that clients
    may show; raises Invalid where it cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    if clients is not None:
        try:
            context.load_verify_locations(cafile=clients)
        except OSError as error:  # ssl.SSLError among them
            text = f"{clients} cannot be read as PEM certificates: {error.strerror or error}"
            raise Invalid(Problem("EDGEWARD_CLIENT_CA", text)) from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
