"""The one door to gRPC: serves delta ADS on a Unix socket, moving bytes between Envoys and state machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc

from edgeward.errors import Invalid, Unavailable
from edgeward.xds.delta import DeltaStream
from edgeward.xds.events import Event

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_MOST_STREAMS = 8
_MOST_REQUEST_BYTES = 256 << 20  # a reconnecting Envoy lists every name it holds in one request
_WARMING_SECONDS = 5.0


class Connection:
    """One Envoy's stream. After telling ``delta`` something, call ``flush()``."""

    def __init__(self) -> None:
        self.delta = DeltaStream()
        self.revision: int | None = None
        """The last one in force."""
        self.superseded = False
        """Another Envoy has taken over: this one keeps the visitors it has and gets no new ones."""
        self._wake = asyncio.Event()
        self._speaking = False

    def flush(self) -> None:
        """Have everything that may be sent now go out, together, in the next turn of the loop."""
        self._wake.set()

    async def wanted(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def speak(self, context: Any) -> None:
        """Send all that may be sent now, unless that is being done already."""
        if self._speaking:
            return
        self._speaking = True
        try:
            while (response := self.delta.response()) is not None:
                await context.write(response)
        finally:
            self._speaking = False


class Program(Protocol):
    """What the server tells the program it belongs to; calls must not block."""

    def opened(self, connection: Connection) -> None: ...

    def told(self, connection: Connection, events: Sequence[Event]) -> None: ...

    def settled(self, connection: Connection) -> None:
        """Envoy has taken in a revision, or refused parts of it."""

    def closed(self, connection: Connection) -> None: ...


class XdsServer:
    """Serves every Envoy of this host (two during a restart) until closed."""

    def __init__(self, path: Path, program: Program) -> None:
        self._path = path
        self._program = program
        self._streams = 0
        self._server: Any = None

    async def open(self) -> None:
        """Listen; raises Unavailable where the socket cannot be made."""
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", _MOST_REQUEST_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                # An idle Envoy pings each 30 s: gRPC's own limit takes that for abuse, and cuts it off.
                ("grpc.http2.max_ping_strikes", 0),
            ]
        )
        method = grpc.stream_stream_rpc_method_handler(self._stream)
        handler = grpc.method_handlers_generic_handler(_SERVICE, {"DeltaAggregatedResources": method})
        self._server.add_generic_rpc_handlers((handler,))
        before = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)
            self._server.add_insecure_port(f"unix:{self._path}")
            await self._server.start()
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"cannot listen on {self._path}: {error}") from error
        finally:
            os.umask(before)

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=0.2)

    async def _stream(self, _requests: Any, context: Any) -> None:
        if self._streams >= _MOST_STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams")
        self._streams += 1
        connection = Connection()
        self._program.opened(connection)
        try:
            await self._both_ways(connection, context)
        finally:
            self._streams -= 1
            self._program.closed(connection)

    async def _both_ways(self, connection: Connection, context: Any) -> None:
        writer = asyncio.create_task(self._write(connection, context))
        warming = asyncio.create_task(_not_for_ever(connection))
        try:
            with _cut():
                await self._read(connection, context)
        except Invalid as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            for task in (writer, warming):
                task.cancel()
            await asyncio.gather(writer, warming, return_exceptions=True)

    async def _read(self, connection: Connection, context: Any) -> None:
        while (data := await context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
            events = connection.delta.received(data)
            if events:
                self._program.told(connection, events)
            moved = not connection.delta.at_rest
            if not connection.delta.silent:
                await connection.speak(context)
            if moved:
                self._notice(connection)

    async def _write(self, connection: Connection, context: Any) -> None:
        with _cut():
            while True:
                await connection.wanted()
                moved = not connection.delta.at_rest
                await connection.speak(context)
                if moved:  # an Envoy that has all of it already is told nothing, and acknowledges nothing
                    self._notice(connection)

    def _notice(self, connection: Connection) -> None:
        revision = connection.delta.in_force
        if revision is not None and revision != connection.revision:
            connection.revision = revision
            self._program.settled(connection)


def _cut() -> contextlib.suppress:
    """What grpc raises where Envoy has gone."""
    return contextlib.suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, grpc.aio.UsageError)


async def _not_for_ever(connection: Connection) -> None:
    """Let listeners and routes go on where a cluster takes too long to warm."""
    while True:
        await asyncio.sleep(_WARMING_SECONDS / 2)
        if connection.delta.waits_for_clusters:
            await asyncio.sleep(_WARMING_SECONDS)
            if connection.delta.waits_for_clusters:
                connection.delta.hurry()
                connection.flush()
