"""Kept HTTPS connections for many threads: plain requests with bounded answers, and little else.

Sent and read by hand, since the libraries for it cost more than all the rest of
an order: docs/decisions/0016-acme.md.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httptools

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0
"""Without a byte."""
WHOLE_SECONDS: Final = 60.0
"""An answer may come in pieces, but not for ever."""
MOST_BYTES: Final = 1 << 20
_MOST_HEADERS: Final = 64 * 1024
_IDLE_SECONDS: Final = 30.0
_CHUNK: Final = 65536
_PLAIN_URL: Final = re.compile(r"https://[!-~]+")
_LINK: Final = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,<>]+)*)")


class Lost(Exception):
    """No answer: no connection, a reset, or none in time. ``sent``: it may be carried out all the same."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


@dataclass(frozen=True)
class Answer:
    """``headers`` by their names in lower case; repeated ones are joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def location(self) -> str | None:
        return self.headers.get("location")

    def links(self, relation: str) -> list[str]:
        """Give the URLs of this relation (RFC 8288), in order."""
        wanted = re.compile(rf';\s*rel\s*=\s*"?{re.escape(relation)}"?\s*(;|$)')
        return [url for url, rest in _LINK.findall(self.headers.get("link", "")) if wanted.search(rest)]

    def retry_after(self) -> float | None:
        """Give the wait it asks for, in seconds (RFC 9110, 10.2.3: a number, or a date)."""
        text = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, OverflowError):  # nothing, or nothing of use
            return None


class Connections:
    """``roots``: file or directory of what is trusted."""

    def __init__(self, roots: str, most: int) -> None:
        where = {"capath": roots} if Path(roots).is_dir() else {"cafile": roots}
        self._context = ssl.create_default_context(**where)  # type: ignore[arg-type]
        self._context.set_alpn_protocols(["http/1.1"])
        self._idle: deque[_Connection] = deque(maxlen=most)
        self._busy: set[_Connection] = set()

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Raises Lost; redirections are answers like others."""
        place, request = _request(method, url, headers, body)
        connection = self._kept(place) or self._opened(place)
        self._busy.add(connection)
        try:
            answer, reusable = connection.exchange(request)
        except BaseException:
            connection.socket.close()
            raise
        finally:
            self._busy.discard(connection)
        if reusable:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.socket.close()
        return answer

    def close(self) -> None:
        """End all; whoever waits for an answer gets Lost at once."""
        for connection in tuple(self._busy):
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        while self._idle:
            self._idle.pop().socket.close()

    def _kept(self, place: tuple[str, int]) -> _Connection | None:
        for _ in range(len(self._idle)):
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if connection.place != place:
                self._idle.appendleft(connection)
            elif connection.usable():
                return connection
            else:
                connection.socket.close()
        return None

    def _opened(self, place: tuple[str, int]) -> _Connection:
        try:
            plain = socket.create_connection(place, CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise Lost(_reason(error), sent=False) from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _Connection(place, self._context.wrap_socket(plain, server_hostname=place[0]))
        except (OSError, ValueError) as error:
            plain.close()
            raise Lost(_reason(error), sent=False) from error


@dataclass(eq=False)
class _Connection:
    place: tuple[str, int]
    socket: ssl.SSLSocket
    idle_since: float = 0.0

    def usable(self) -> bool:
        """Whether the other side has not ended it meanwhile: what came unasked is its farewell."""
        if time.monotonic() - self.idle_since > _IDLE_SECONDS:
            return False
        watched = select.poll()
        watched.register(self.socket, select.POLLIN)
        return not watched.poll(0)

    def exchange(self, request: bytes) -> tuple[Answer, bool]:
        """Give the answer, and whether the connection can be used again."""
        reading = _Reading()
        parser = httptools.HttpResponseParser(reading)
        ends = time.monotonic() + WHOLE_SECONDS
        try:
            self.socket.settimeout(READ_SECONDS)
            self.socket.sendall(request)
            while not reading.over:
                left = ends - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.socket.settimeout(min(READ_SECONDS, left))
                received = self.socket.recv(_CHUNK)
                if not received and reading.ends_with_connection:
                    break
                if not received:
                    raise Lost("it ended the connection instead of answering", sent=True)
                parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeError) as error:
            raise Lost("what it answers is not HTTP", sent=True) from error
        except OSError as error:
            raise Lost(_reason(error), sent=True) from error
        answer = Answer(parser.get_status_code(), reading.headers, b"".join(reading.parts))
        return answer, reading.over and reading.lasting


@dataclass
class _Reading:
    """What httptools tells of one answer."""

    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    over: bool = False
    lasting: bool = False
    """Whether the connection may be used again (RFC 9112, 9.3); only HTTP/1.1 is spoken here."""
    _complete: bool = False
    _size: int = 0

    @property
    def ends_with_connection(self) -> bool:
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        return self._complete and not framed

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value), _MOST_HEADERS)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self._complete, self._size = True, 0

    def on_body(self, body: bytes) -> None:
        self._grow(len(body), MOST_BYTES)
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.over = True
        self.lasting = "close" not in self.headers.get("connection", "").lower()

    def _grow(self, size: int, most: int) -> None:
        self._size += size
        if self._size > most:
            raise httptools.HttpParserError("too long")


def _request(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[tuple[str, int], bytes]:
    if not _PLAIN_URL.fullmatch(url):
        raise Lost("it names a URL that is none", sent=False)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError as error:
        raise Lost("it names a URL that is none", sent=False) from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return (host, port), "\r\n".join((*lines, "", "")).encode("ascii") + body


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # of the IDNA codec, or of ssl
        return "it names a host that is none"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
