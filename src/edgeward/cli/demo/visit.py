"""One visitor: a TLS handshake that is timed and verified, and one request."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Visit:
    """What a visitor got. ``handshake`` is in seconds, TCP's not included."""

    status: int
    headers: dict[str, str]
    body: str
    handshake: float


class Failed(Exception):
    """The visit came to nothing; ``after`` is how many seconds it took."""

    def __init__(self, reason: str, after: float) -> None:
        super().__init__(reason)
        self.after = after


def trusting(root: Path) -> ssl.SSLContext:
    """Give a context that trusts the authorities in this file and nothing else, and checks names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(root)
    return context


async def visit(
    port: int, name: str, path: str = "/", trust: ssl.SSLContext | None = None, timeout: float = 15.0
) -> Visit:
    """Visit ``name`` on loopback, over TLS where ``trust`` is given; raises Failed."""
    start = time.monotonic()
    writer = None
    try:
        async with asyncio.timeout(timeout):
            connected = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", port))
            connected_at = time.monotonic()
            reader, writer = await asyncio.open_connection(
                sock=connected, ssl=trust, server_hostname=name if trust else None
            )
            handshake = time.monotonic() - connected_at
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
            return await _read(reader, handshake)
    except TimeoutError as error:
        raise Failed(f"no answer within {timeout} s", time.monotonic() - start) from error
    except (OSError, ssl.SSLError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        raise Failed(_reason(error), time.monotonic() - start) from error
    finally:
        if writer is not None:
            with suppress(OSError, RuntimeError):
                writer.transport.abort()


async def _read(reader: asyncio.StreamReader, handshake: float) -> Visit:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        raise ValueError("not an HTTP answer")
    pairs = (line.partition(":") for line in lines)
    headers = {key.lower(): value.strip() for key, _, value in pairs}
    if "content-length" in headers:  # Envoy ends a connection up to a second after an answer of its own
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await _rest(reader)
    return Visit(int(first.split(" ")[1]), headers, body.decode(errors="replace"), handshake)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while len(data) < _MOST_BYTES and (more := await reader.read(_MOST_BYTES)):
        data += more
    return data


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not to be trusted: {error.verify_message}"
    if isinstance(error, ConnectionResetError):
        return "the handshake was refused"
    if isinstance(error, EOFError):
        return "the connection ended in the middle of the answer"
    if isinstance(error, ssl.SSLError):
        return f"the handshake was refused: {(error.reason or str(error)).lower().replace('_', ' ')}"
    return str(error) or type(error).__name__


class Visitors:
    """Visit again and again, so many times a second, each over a connection of its own, and count."""

    def __init__(self, port: int, names: tuple[str, ...], trust: ssl.SSLContext, per_second: float) -> None:
        self._port, self._names, self._trust = port, names, trust
        self._pause = 1 / per_second
        self.served = 0
        self.failures: list[str] = []
        self._visits: set[asyncio.Task[None]] = set()

    async def keep_visiting(self) -> None:
        """Go on until cancelled; then ``finish()`` waits for those under way."""
        number = 0
        while True:
            name = self._names[number % len(self._names)]
            task = asyncio.create_task(self._one(name))
            self._visits.add(task)
            task.add_done_callback(self._visits.discard)
            number += 1
            await asyncio.sleep(self._pause)

    async def finish(self) -> None:
        await asyncio.gather(*self._visits)

    async def _one(self, name: str) -> None:
        try:
            seen = await visit(self._port, name, trust=self._trust)
        except Failed as error:
            self.failures.append(f"{name}: {error}")
            return
        if seen.status == 200:
            self.served += 1
        else:
            self.failures.append(f"{name}: status {seen.status}")
