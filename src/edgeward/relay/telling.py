"""Serves metrics and status over HTTP on a Unix socket: GET /metrics, GET /status; one answer each."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from edgeward.relay import sockets
from edgeward.relay.listening import Listener
from edgeward.relay.loop import IN, Loop, Timer
from edgeward.relay.measures import State
from edgeward.relay.sockets import Socket

_MOST_BYTES: Final = 4096
_MOST_ASKING: Final = 8
_SECONDS: Final = 5.0
_OUT_OF_DESCRIPTORS_SECONDS: Final = 1.0


class Telling:
    """Answers those who ask how the relay is; few at once, and not for long."""

    def __init__(self, listener: Listener, loop: Loop, state: Callable[[], State]) -> None:
        self._listener, self._loop, self._state = listener, loop, state
        self._asking: dict[Socket, tuple[bytes, Timer]] = {}
        self._later: Timer | None = None
        loop.watch(listener.socket.fileno(), self._accept, IN)

    def close(self) -> None:
        """Ask no more of the loop; the listener stays its owner's."""
        if self._later is not None:
            self._later.cancel()
        self._loop.forget(self._listener.socket.fileno())

    def _accept(self, _events: int) -> None:
        try:
            asking = sockets.accepted(self._listener.socket)
        except OSError as error:
            if sockets.is_out_of_descriptors(error):  # who asks still waits: not to be told of it always
                self._loop.change(self._listener.socket.fileno(), 0)
                self._later = self._loop.later(_OUT_OF_DESCRIPTORS_SECONDS, self._try_again)
            return
        if len(self._asking) >= _MOST_ASKING:
            asking.close()
            return
        self._asking[asking] = b"", self._loop.later(_SECONDS, lambda: self._close(asking))
        self._loop.watch(asking.fileno(), lambda _events: self._read(asking), IN)

    def _try_again(self) -> None:
        self._loop.change(self._listener.socket.fileno(), IN)

    def _read(self, asking: Socket) -> None:
        before, timer = self._asking[asking]
        try:
            data = asking.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        request = before + data
        self._asking[asking] = request, timer
        if b"\r\n\r\n" in request or b"\n\n" in request:
            with suppress(OSError):
                asking.send(self._answer(request))
            self._close(asking)
        elif not data or len(request) > _MOST_BYTES:
            self._close(asking)

    def _answer(self, request: bytes) -> bytes:
        path = request.split(b" ", 2)[1:2]
        if not request.startswith(b"GET ") or path not in ([b"/metrics"], [b"/status"]):
            return _response("404 Not Found", "text/plain", "there are /metrics and /status\n")
        state = self._state()
        if path == [b"/metrics"]:
            return _response("200 OK", "text/plain; version=0.0.4; charset=utf-8", state.metrics())
        return _response(
            "200 OK", "application/json", json.dumps(state.document() | {"line": state.line()}) + "\n"
        )

    def _close(self, asking: Socket) -> None:
        found = self._asking.pop(asking, None)
        if found is not None:
            found[1].cancel()
            self._loop.close(asking)


def _response(status: str, kind: str, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body
