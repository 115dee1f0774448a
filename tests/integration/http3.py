"""A visitor over HTTP/3 that says what it is told to."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamReset


@dataclass
class Answer:
    """Without a status where the stream was reset."""

    status: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class _Visitor(QuicConnectionProtocol):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._http: H3Connection | None = None
        self._answers: dict[int, tuple[Answer, asyncio.Future[Answer]]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamReset) and event.stream_id in self._answers:
            answer, done = self._answers[event.stream_id]
            if not done.done():
                done.set_result(answer)
        for found in self._http.handle_event(event) if self._http else ():
            if not isinstance(found, (HeadersReceived, DataReceived)):
                continue
            answer, done = self._answers[found.stream_id]
            if isinstance(found, HeadersReceived):
                answer.headers |= {n.decode(): v.decode() for n, v in found.headers}
                answer.status = answer.headers[":status"]
            else:
                answer.body += found.data
            if found.stream_ended and not done.done():
                done.set_result(answer)

    async def ask(self, headers: list[tuple[str, str]]) -> Answer:
        self._http = self._http or H3Connection(self._quic)
        stream = self._quic.get_next_available_stream_id()
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[stream] = (Answer(), done)
        self._http.send_headers(stream, [(n.encode(), v.encode()) for n, v in headers], end_stream=True)
        self.transmit()
        async with asyncio.timeout(30):
            return await done


def visit(
    port: int, name: str, *hosts: str, more: list[tuple[str, str]] | None = None
) -> list[Answer] | None:
    """Ask for ``/`` of each host over one connection to ``name``; None where there is no connection."""

    async def asked() -> list[Answer] | None:
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=H3_ALPN,
            server_name=name,
            verify_mode=ssl.CERT_NONE,
            idle_timeout=3.0,
        )
        try:
            async with connect(
                "127.0.0.1", port, configuration=configuration, create_protocol=_Visitor
            ) as visitor:
                assert isinstance(visitor, _Visitor)
                plain = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
                return [await visitor.ask([*plain, (":authority", h), *(more or [])]) for h in hosts]
        except ConnectionError:
            return None

    return asyncio.run(asked())
