"""Visitors who stay: keep-alive connections, WebSockets and a stream of new ones, and whatever goes wrong for any."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import hpack
from hyperframe import frame as frames

_SECONDS = 30.0


class Wrong(Exception):
    """Something a visitor would complain about."""


class Visitors:
    """Runs in a thread of its own from ``start()`` to ``stop()``.

    ``errors`` holds every failure; ``answers`` counts what went well and ``moves`` the connections
    that were ended in an orderly way and made anew, both by kind of visitor.
    """

    def __init__(self, port: int, name: str, pause: float = 0.05) -> None:
        self._port = port
        self._name = name
        self._pause = pause
        self.errors: list[str] = []
        self.answers: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()
        self._leaving = False
        self._makers: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def add(self, count: int, kind: str) -> None:
        """``kind``: http1, h2, websocket or fresh (a new connection for each request)."""
        visit = {"http1": self._http1, "h2": self._h2, "websocket": self._websocket, "fresh": self._fresh}[
            kind
        ]
        self._makers += [(kind, visit)] * count

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._leaving = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        await asyncio.gather(*(self._for_ever(kind, visit) for kind, visit in self._makers))

    async def _for_ever(self, kind: str, visit: Callable[[], Awaitable[None]]) -> None:
        while not self._leaving:
            try:
                await visit()
            except (Wrong, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.errors.append(f"{time.time():.3f} {kind}: {error!r}")
                await asyncio.sleep(0.2)
            self.moves[kind] += not self._leaving

    async def _connect(self, *protocols: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(list(protocols))
        async with asyncio.timeout(_SECONDS):
            return await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=context, server_hostname=self._name
            )

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: str = ""
    ) -> tuple[bytes, bytes]:
        writer.write(f"GET / HTTP/1.1\r\nHost: {self._name}\r\n{more}\r\n".encode())
        async with asyncio.timeout(_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length or b"0"))
        return head, body

    async def _http1(self) -> None:
        reader, writer = await self._connect("http/1.1")
        try:
            while not self._leaving:
                head, _ = await self._ask(reader, writer)
                if not head.startswith(b"http/1.1 200"):
                    raise Wrong(head[:100])
                self.answers["http1"] += 1
                if b"\r\nconnection: close" in head:
                    return
                await asyncio.sleep(self._pause)
        finally:
            writer.close()

    async def _fresh(self) -> None:
        reader, writer = await self._connect("http/1.1")
        try:
            head, _ = await self._ask(reader, writer, "Connection: close\r\n")
            if not head.startswith(b"http/1.1 200"):
                raise Wrong(head[:100])
            self.answers["fresh"] += 1
            await asyncio.sleep(self._pause / 5)
        finally:
            writer.close()

    async def _websocket(self) -> None:
        reader, writer = await self._connect("http/1.1")
        try:
            head, _ = await self._ask(reader, writer, "Connection: Upgrade\r\nUpgrade: websocket\r\n")
            if not head.startswith(b"http/1.1 101"):
                raise Wrong(head[:100])
            while not self._leaving:
                writer.write(b"hello")
                async with asyncio.timeout(_SECONDS):
                    await reader.readexactly(5)
                self.answers["websocket"] += 1
                await asyncio.sleep(self._pause)
        finally:
            writer.close()

    async def _h2(self) -> None:
        reader, writer = await self._connect("h2")
        session = _Session(reader, writer)
        try:
            while not self._leaving and not session.going:
                async with asyncio.timeout(_SECONDS):
                    status = await session.ask(self._name)
                if status != "200":
                    raise Wrong(status)
                self.answers["h2"] += 1
                await asyncio.sleep(self._pause)
        finally:
            writer.close()


class _Session:
    """HTTP/2 as far as one request after the other needs it; the package h2 gives up at the first GOAWAY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._stream = -1
        self.going = False
        """The server wants to end the connection."""
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.SettingsFrame(0).serialize())

    async def ask(self, name: str) -> str:
        """Give an answer's status, once all of it has come."""
        self._stream += 2
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", name), (":path", "/")]
        block = self._encoder.encode(headers)
        asked = frames.HeadersFrame(self._stream, data=block, flags=["END_HEADERS", "END_STREAM"])
        self._writer.write(asked.serialize())
        status, ended = "", False
        while not ended:
            frame = await self._frame()
            if isinstance(frame, frames.HeadersFrame):
                status = dict(self._decoder.decode(frame.data))[":status"]
            elif isinstance(frame, frames.RstStreamFrame):
                raise Wrong(f"the stream was reset: {frame.error_code}")
            elif isinstance(frame, frames.GoAwayFrame):
                self.going = True
            elif isinstance(frame, frames.SettingsFrame | frames.PingFrame) and "ACK" not in frame.flags:
                self._acknowledge(frame)
            elif isinstance(frame, frames.DataFrame) and frame.data:
                for stream in (0, self._stream):
                    window = frames.WindowUpdateFrame(stream, window_increment=len(frame.data))
                    self._writer.write(window.serialize())
            ended = frame.stream_id == self._stream and "END_STREAM" in frame.flags
        return status

    def _acknowledge(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.PingFrame):
            answer: frames.Frame = frames.PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"])
        else:
            answer = frames.SettingsFrame(0, flags=["ACK"])
        self._writer.write(answer.serialize())

    async def _frame(self) -> frames.Frame:
        frame, length = frames.Frame.parse_frame_header(memoryview(await self._reader.readexactly(9)))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        return frame
