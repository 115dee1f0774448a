"""A delta ADS client over a Unix socket: the model of Envoy with real bytes on a real stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from edgeward.xds.delta import DeltaStream
from tests.unit.xds.model_envoy import Envoy

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


class Client:
    def __init__(self, call: Any, envoy: Envoy) -> None:
        self.call = call
        self.envoy = envoy

    async def settle(self, quiet: float = 0.5) -> None:
        """Talk until neither side has said anything for a while."""
        while True:
            while self.envoy.outbox:
                await self.call.write(self.envoy.outbox.popleft())
            try:
                response = await asyncio.wait_for(self._read(), quiet)
            except TimeoutError:
                return
            self.envoy.inbox.append(response)
            self.envoy.take_response()

    async def _read(self) -> bytes:
        if not hasattr(self, "_reading") or self._reading is None:
            self._reading: asyncio.Task[Any] | None = asyncio.ensure_future(self.call.read())
        response = await asyncio.shield(self._reading)
        self._reading = None
        assert isinstance(response, bytes), "the server ended the stream"
        return response


@asynccontextmanager
async def connected(path: Path, envoy: Envoy) -> AsyncIterator[Client]:
    """Connect an Envoy, new or known to another stream before."""
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        call = channel.stream_stream(METHOD)()
        envoy.connect(DeltaStream())  # its own end is on the other side of the socket
        yield Client(call, envoy)
        call.cancel()
