"""Asks Envoy's admin interface, over its Unix socket, whether it serves and for whom; tells it to drain."""

from __future__ import annotations

import asyncio
import json
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


@dataclass(frozen=True)
class Who:
    """Which Envoy answers, and its own word for how it is."""

    base: int
    epoch: int
    state: str


class Silent(Exception):
    """The admin interface does not answer: Envoy is starting, ending or stuck."""


class Admin:
    """One Envoy's. An Envoy whose successor starts closes its admin socket for good (the successor opens
    one in its place), but not the connections there are: ``hold()`` makes one, and only it is used then.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._holds = False
        self._held: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def hold(self, timeout: float = 1.0) -> None:
        """Keep a connection from now on; where it is lost, everything is Silent until ``release()``."""
        self._holds = True
        if self._held is not None:
            return
        try:
            async with asyncio.timeout(timeout):
                self._held = await asyncio.open_unix_connection(self.socket)
        except (OSError, TimeoutError) as error:
            raise Silent(str(error) or type(error).__name__) from error

    def release(self) -> None:
        """Make a connection for each question again."""
        self._holds = False
        self._drop()

    def _drop(self) -> None:
        if self._held is not None:
            self._held[1].close()
            self._held = None

    async def who(self, timeout: float = 1.0) -> Who:
        text = await self._ask("GET", "/server_info", timeout)
        try:
            said = json.loads(text)
            options = said["command_line_options"]
            return Who(int(options.get("base_id", 0)), int(options.get("restart_epoch", 0)), said["state"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Silent(f"/server_info is not understood: {error!r}") from error

    async def connections(self, timeout: float = 1.0) -> int:
        """Give how many visitors' connections of any protocol there are."""
        return read_connections(await self._ask("GET", _CONNECTIONS, timeout))

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
                if self._holds:
                    return await self._exchange_held(method, path)
                return read_answer(await self._exchange(method, path))
        except (OSError, TimeoutError, ValueError) as error:
            raise Silent(f"{method} {path}: {error or type(error).__name__}") from error

    async def _exchange(self, method: str, path: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(_request(method, path, "close"))
            data = b""
            while piece := await reader.read(65536):
                data += piece
                if len(data) > _MOST_BYTES:
                    raise ValueError("the answer is too long")
            return data
        finally:
            writer.close()

    async def _exchange_held(self, method: str, path: str) -> str:
        async with self._turn:
            if self._held is None:
                raise ValueError("the connection that was kept is lost")
            reader, writer = self._held
            whole = False
            try:
                writer.write(_request(method, path, "keep-alive"))
                data = b""
                while not whole:
                    piece = await reader.read(65536)
                    data += piece
                    if not piece or len(data) > _MOST_BYTES:
                        raise ValueError("the answer ends early, or never")
                    whole = is_whole(data)
                return read_answer(data)
            finally:
                if not whole:  # half an answer would be taken for the next one
                    self._drop()


def _request(method: str, path: str, connection: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: envoy\r\nContent-Length: 0\r\nConnection: {connection}\r\n\r\n"
    return head.encode()


_CONNECTIONS = "/stats?type=Gauges&filter=^listener%5C..*downstream_cx_active$"
_LISTENER = re.compile(
    r"^listener\.(?!admin\.)(?:(?!\.worker_).)+\.downstream_cx_active: (?P<count>\d+)$", re.MULTILINE
)


def read_connections(text: str) -> int:
    """Add the gauges of all listeners up, without the admin interface's and those of single workers."""
    return sum(int(gauge["count"]) for gauge in _LISTENER.finditer(text))


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


def is_whole(data: bytes) -> bool:
    """Tell whether an answer on a connection that stays open has come to its end."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = _LENGTH.search(head)
    if length:
        return len(body) >= int(length[1])
    try:
        read_answer(data)
    except ValueError:
        return False
    return True


_LENGTH = re.compile(rb"\ncontent-length: *(\d{1,9})\r?(?:\n|$)", re.IGNORECASE)


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
