"""A proxy in front of an authority that answers 429 and 500, stalls, resets and loses answers, as told."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.integration.acme import Pebble

WAYS = {
    "order-plz": "newOrder",
    "sign-me-up": "newAccount",
    "finalize-order": "finalize",
    "my-order": "order",
    "authZ": "authorization",
    "chalZ": "challenge",
    "certZ": "certificate",
    "dir": "directory",
    "nonce-plz": "newNonce",
    "rollover-account-key": "keyChange",
    "revoke-cert": "revokeCert",
}
"""Pebble's paths, and what they are for."""


@dataclass(frozen=True)
class Say:
    """Answer this instead of asking the authority."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Reset:
    """End the connection before the authority hears of it."""


@dataclass(frozen=True)
class Lose:
    """Let the authority do it, and end the connection instead of answering."""

    first: Callable[[], None] = lambda: None
    """What happens in between."""


@dataclass(frozen=True)
class Stall:
    """Say nothing at all until the proxy ends."""

    first: Callable[[], None] = lambda: None


Fault = Say | Reset | Lose | Stall | None
Rule = Callable[[str, Any], Fault]


@dataclass
class Request:
    what: str
    payload: Any
    at: float = field(default_factory=time.monotonic)


class Proxy:
    """``rule`` is asked with what is wanted (see WAYS) and the payload; ``seen`` is all that came."""

    def __init__(self, authority: Pebble) -> None:
        self.authority = authority
        self.rule: Rule = lambda what, payload: None
        self.seen: list[Request] = []
        self.adds: dict[str, Any] = {}
        """What its directory has more than the authority's, by field."""
        self.pages: dict[str, Say] = {}
        """What it answers itself, by path."""
        self.port = 0
        self.over = threading.Event()

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def count(self, what: str) -> int:
        return sum(request.what == what for request in self.seen)

    def once(self, wanted: str, *faults: Fault) -> None:
        """Have the first requests of this kind fail so, one each; the later ones pass."""
        left = list(faults)
        self.rule = lambda what, payload: left.pop(0) if what == wanted and left else None

    def always(self, fault: Fault, *kinds: str) -> None:
        self.rule = lambda what, payload: fault if not kinds or what in kinds else None


@contextmanager
def proxy(authority: Pebble) -> Iterator[Proxy]:
    made = Proxy(authority)
    upstream = httpx.Client(
        verify=ssl.create_default_context(cafile=authority.ca_file),
        timeout=30,
        limits=httpx.Limits(max_connections=50),
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def do_HEAD(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            what = WAYS.get(self.path.split("/")[1], self.path.split("/")[1])
            request = Request(what, _payload(body))
            made.seen.append(request)
            fault = made.pages.get(self.path) or made.rule(what, request.payload)
            if isinstance(fault, Say):
                self._answer(fault.status, fault.headers, json.dumps(fault.body).encode())
            elif isinstance(fault, Stall):
                fault.first()
                made.over.wait()
                self.close_connection = True
            elif isinstance(fault, Reset):
                self._reset()
            else:
                self._asked(body, what, fault if isinstance(fault, Lose) else None)

        def _asked(self, body: bytes, what: str, lost: Lose | None) -> None:
            kept = {n: v for n, v in self.headers.items() if n.lower() in ("host", "content-type")}
            url = f"https://127.0.0.1:{authority.port}{self.path}"
            answer = upstream.request(self.command, url, content=body, headers=kept)
            if lost is not None:
                lost.first()
                self._reset()
                return
            content = answer.content
            if what == "directory":
                content = json.dumps({**answer.json(), **made.adds}).encode()
            self._answer(answer.status_code, answer.headers, content)

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "date", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _reset(self) -> None:
            with suppress(OSError):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            with suppress(OSError):
                self.connection.close()

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    server.context = authority.trust.context
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
        upstream.close()
        thread.join(30)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError, ValueError):
            super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def _payload(body: bytes) -> Any:
    """Give what a signed request says; None for one that only reads."""
    if not body:
        return None
    text = json.loads(body)["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if text else None
