"""Connects to one of several addresses: in turn, the next one started while the last is slow (RFC 8305)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from edgeward.relay import sockets
from edgeward.relay.loop import BOTH, LOST, READING, Loop, Timer
from edgeward.relay.place import Address
from edgeward.relay.sockets import Socket

NEXT_SECONDS: Final = 0.25
"""Connection Attempt Delay, RFC 8305 section 5."""
_BACKLOG_SECONDS: Final = 0.01
_UNDER_WAY: Final = (0, errno.EINPROGRESS)


class Connecting:
    """Calls ``done(self, socket, address, events)`` once, or ``failed(self, reason)`` once.

    ``deadline`` (time.monotonic()) is kept by whoever owns it: it calls ``overdue()`` then.
    """

    __slots__ = (
        "_addresses", "_attempts", "_done", "_failed", "_left", "_loop", "_next", "_reason", "_timeout",
        "client", "deadline", "over", "since",
    )  # fmt: skip

    def __init__(
        self,
        client: Socket,
        loop: Loop,
        timeout: float,
        done: Callable[[Connecting, Socket, Address, int], None],
        failed: Callable[[Connecting, str], None],
    ) -> None:
        self.client = client
        self._loop, self._timeout = loop, timeout
        self._done, self._failed = done, failed
        self._attempts: dict[Socket, Address] = {}
        self._next: Timer | None = None
        self._reason = "there is no address to connect to"
        self._addresses: Sequence[Address] = ()
        self._left = 0
        self.over = False
        self.since = monotonic()
        self.deadline = self.since + timeout

    def start(self, addresses: Sequence[Address]) -> None:
        """Try these, in this order. Each may take the whole timeout, beside the others."""
        self._addresses, self._left = addresses, 0
        self._try_next()

    @property
    def tried(self) -> Sequence[Address]:
        return self._addresses[: self._left]

    def wait(self, reason: str) -> None:
        """Wait to be started, for the timeout at most; ``reason`` is why it failed, if it does."""
        self._reason = reason

    def overdue(self) -> bool:
        """Give up where the time of the last attempt is over; tells whether it is."""
        if monotonic() < self.deadline:
            return False
        if self._addresses:
            self._reason = f"no answer within {self._timeout:g} s"
        self._give_up()
        return True

    def abandon(self) -> None:
        """Stop without a word; the client's socket stays its owner's."""
        self.over = True
        if self._next is not None:
            self._next.cancel()
        for socket in self._attempts:
            self._loop.close(socket)
        self._attempts.clear()

    def _try_next(self) -> None:
        """Start attempts until one is under way."""
        self._next = None
        while self._left < len(self._addresses):
            address = self._addresses[self._left]
            self._left += 1
            if self._started(address):
                if self._attempts and self._left < len(self._addresses):
                    self._next = self._loop.later(NEXT_SECONDS, self._try_next)
                return
            if self._next is not None:
                return
        if not self._attempts:
            self._give_up()

    def _started(self, address: Address) -> bool:
        try:
            socket = sockets.made(address.family)
        except OSError as error:
            self._reason = _said(error.errno)
            return False
        code = socket.connect_ex(address.sockaddr)
        if code not in _UNDER_WAY:
            socket.close()
            if code == errno.EAGAIN and monotonic() < self.deadline:
                self._wait_for_backlog()
            self._reason = _said(code)
            return False
        self.deadline = monotonic() + self._timeout
        self._attempts[socket] = address
        self._loop.watch(
            socket.fileno(), lambda events: self._told(socket, events), BOTH if code else READING
        )
        if code == 0:
            self._told(socket, 0)
        return True

    def _wait_for_backlog(self) -> None:
        """A Unix socket whose backlog is full tells nobody when it has room again."""
        if self._next is None and self._left == len(self._addresses):
            self._left -= 1
            self._next = self._loop.later(_BACKLOG_SECONDS, self._try_next)

    def _told(self, socket: Socket, events: int) -> None:
        code = sockets.error_of(socket) if events & LOST else 0
        if code:
            self._reason = _said(code)
            del self._attempts[socket]
            self._loop.close(socket)
            if self._next is not None:
                self._next.cancel()
            self._try_next()
            return
        address = self._attempts.pop(socket)
        self.abandon()
        self._done(self, socket, address, events)

    def _give_up(self) -> None:
        self.abandon()
        self._failed(self, self._reason)


def _said(code: int | None) -> str:
    return os.strerror(code) if code else "it failed"
