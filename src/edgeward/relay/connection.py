"""One connection: a client's socket, a backend's, and the two flows between them until both are through."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from edgeward.relay.flow import Flow
from edgeward.relay.loop import BOTH, ENDING, IN, LOST, OUT, READING, URGENT, Loop
from edgeward.relay.pipes import Pipes
from edgeward.relay.sockets import Socket, set_to_reset, shut_sending, unsent

_INCOMING: Final = IN | URGENT | ENDING
_OUTGOING: Final = OUT | LOST
_SPECIAL: Final = URGENT | ENDING
_LINGER_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02


class Connection:
    """Calls ``ended(self)`` once, with both sockets closed. ``at``: when bytes last moved (monotonic)."""

    __slots__ = (
        "_again", "_backend", "_client", "_ended", "_half", "_lingering", "_loop", "_tells_backend_room",
        "_tells_client_room", "at", "down", "up",
    )  # fmt: skip

    def __init__(
        self,
        client: Socket,
        backend: Socket,
        loop: Loop,
        pipes: Pipes,
        ended: Callable[[Connection], None],
        first: bytes = b"",
    ) -> None:
        self._client, self._backend, self._loop = client, backend, loop
        self._ended: Callable[[Connection], None] | None = ended
        self.up = Flow(client, backend, pipes, first)
        self.down = Flow(backend, client, pipes)
        self._again = self._lingering = self._half = False
        self._tells_client_room = self._tells_backend_room = False
        self.at = monotonic()

    def start(self, events: int) -> None:
        """Begin, with the events by which the backend's socket told that it is connected."""
        self._tells_backend_room = events & OUT != 0
        self._loop.hand_over(self._backend.fileno(), self._backend_told)
        self._loop.watch(self._client.fileno(), self._client_told, READING)
        if events & ~OUT or self.up.has_first:
            self._backend_told(events)

    def cut(self) -> None:
        """End it here and now; both sides learn that this was no proper end."""
        self._close(reset=True)

    def _client_told(self, events: int) -> None:
        up, down = self.up, self.down
        if events & _INCOMING:
            up.readable = True
            if events & _SPECIAL:
                up.thorough = True
        if events & _OUTGOING:
            down.writable = True
        self._go_on()

    def _backend_told(self, events: int) -> None:
        up, down = self.up, self.down
        if events & _INCOMING:
            down.readable = True
            if events & _SPECIAL:
                down.thorough = True
        if events & _OUTGOING:
            up.writable = True
        self._go_on()

    def _go_on(self) -> None:
        if self._ended is None:
            return
        up, down = self.up, self.down
        more = not up.finished and up.carry()
        if up.reset:
            down.doubtful = True
        more = (not down.finished and down.carry()) or more
        if down.reset:
            up.doubtful = True
        self.at = monotonic()
        if more and not self._again:
            self._again = True
            self._loop.soon(self._once_more)
        if not (up.writable and down.writable):
            self._ask_for_room()
        if up.finished or down.finished:
            self._towards_the_end()

    def _ask_for_room(self) -> None:
        """Have the loop tell when a full socket takes more; that stays, since this is a stream of much."""
        if not self.down.writable and not self._tells_client_room:
            self._tells_client_room = True
            self._loop.change(self._client.fileno(), BOTH)
        if not self.up.writable and not self._tells_backend_room:
            self._tells_backend_room = True
            self._loop.change(self._backend.fileno(), BOTH)

    def _once_more(self) -> None:
        self._again = False
        self._go_on()

    def _towards_the_end(self) -> None:
        """Close once both flows are through. A reset is passed on, and so is that nobody takes any more."""
        up, down = self.up, self.down
        if up.broken and up.finished:
            self._reset_after(self._backend)
        elif down.broken and down.finished:
            self._reset_after(self._client)
        elif up.finished and down.finished:
            self._close(reset=False)
        elif up.refused and down.finished:
            self._reset_after(self._client)
        elif down.refused and up.finished:
            self._reset_after(self._backend)
        elif not self._half:
            self._half = True
            shut_sending(self._backend if up.finished else self._client)

    def _reset_after(self, sink: Socket) -> None:
        """Let the peer take what is on its way before a reset makes the kernel drop it, but not for long."""
        if not unsent(sink):
            self.cut()
        elif not self._lingering:
            self._lingering = True
            self._loop.later(_LINGER_SECONDS, self.cut)
            self._look_again(sink)

    def _look_again(self, sink: Socket) -> None:
        if self._ended is None:
            return
        if unsent(sink):
            self._loop.later(_LOOK_SECONDS, lambda: self._look_again(sink))
        else:
            self.cut()

    def _close(self, *, reset: bool) -> None:
        if self._ended is None:
            return
        ended, self._ended = self._ended, None
        for flow in (self.up, self.down):
            flow.let_go()
        for socket in (self._client, self._backend):
            if reset:
                set_to_reset(socket)
            self._loop.close(socket)
        ended(self)
