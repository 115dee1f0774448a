"""Asks Envoy's admin interface, over its Unix socket, whether it serves and for whom; tells it to drain."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 4 << 20
_GAUGE = re.compile(
    r"^http\.(?P<prefix>.+)\.downstream_(?P<what>cx|rq)_active: (?P<count>\d+)$", re.MULTILINE
)


@dataclass(frozen=True)
class InFlight:
    """Visitors' connections and requests (WebSockets among them) that Envoy holds now."""

    connections: int
    requests: int


class Silent(Exception):
    """The admin interface does not answer: Envoy is starting, ending or stuck."""


class Admin:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def state(self, timeout: float = 1.0) -> str:
        """Give Envoy's own word: ``LIVE``, ``PRE_INITIALIZING``, ``INITIALIZING`` or ``DRAINING``."""
        return (await self._ask("GET", "/ready", timeout)).strip()

    async def in_flight(self, timeout: float = 1.0) -> InFlight:
        return read_in_flight(await self._ask("GET", _IN_FLIGHT, timeout))

    async def drain(self, timeout: float = 1.0) -> None:
        """Take no new connections; say ``Connection: close`` and GOAWAY on the next answer of each old one.

        ``drain_listeners?graceful`` would go on accepting for all of ``--drain-time-s``, so that
        something is always cut at the end.
        """
        await self._ask("POST", "/healthcheck/fail", timeout)
        await self._ask("POST", "/drain_listeners", timeout)

    async def _ask(self, method: str, path: str, timeout: float) -> str:
        try:
            async with asyncio.timeout(timeout):
                return read_answer(await self._exchange(method, path))
        except (OSError, TimeoutError, ValueError) as error:
            raise Silent(f"{method} {path}: {error or type(error).__name__}") from error

    async def _exchange(self, method: str, path: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: envoy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode())
            data = b""
            while piece := await reader.read(65536):
                data += piece
                if len(data) > _MOST_BYTES:
                    raise ValueError("the answer is too long")
            return data
        finally:
            writer.close()


_IN_FLIGHT = "/stats?type=Gauges&filter=downstream_(cx|rq)_active"


def read_in_flight(text: str) -> InFlight:
    """Add the gauges of all HTTP listeners up, the admin interface's own left out."""
    totals = {"cx": 0, "rq": 0}
    for gauge in _GAUGE.finditer(text):
        if gauge["prefix"] != "admin":
            totals[gauge["what"]] += int(gauge["count"])
    return InFlight(connections=totals["cx"], requests=totals["rq"])


def read_answer(data: bytes) -> str:
    """Give the body of a whole HTTP/1.1 answer; raises ValueError for anything unfinished."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"HTTP/1.1 "):
        raise ValueError("not an HTTP answer")
    if b"\ntransfer-encoding: chunked" in head.lower():
        body = _unchunked(body)
    return body.decode(errors="replace")


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while True:
        size, separator, body = body.partition(b"\r\n")
        length = int(size or b"-", 16)
        if not separator or length < 0 or len(body) < length + 2:
            raise ValueError("the answer ends early")
        if length == 0:
            return whole
        whole, body = whole + body[:length], body[length + 2 :]
