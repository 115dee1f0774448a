"""The relay's listening sockets at work: open, shut for a while, or closed for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from edgeward.relay import listening, sockets
from edgeward.relay.lines import Seldom
from edgeward.relay.listening import Listener
from edgeward.relay.loop import IN, Loop
from edgeward.relay.sockets import Socket

_OUT_OF_DESCRIPTORS_SECONDS: Final = 1.0
_SAY_SECONDS: Final = 60


class Doors:
    """Gives each new connection to ``take``. Who finds the doors shut waits in the kernel's backlog."""

    def __init__(
        self, listeners: Sequence[Listener], loop: Loop, take: Callable[[Socket, Listener], None]
    ) -> None:
        self._listeners, self._loop, self._take = listeners, loop, take
        self._seldom = Seldom(_SAY_SECONDS)
        self._out_of_descriptors = self._closed = False
        self.are_open = True
        for listener in listeners:
            loop.watch(listener.socket.fileno(), partial(self._accept, listener), IN)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(listener.name for listener in self._listeners)

    def shut(self) -> None:
        if self.are_open:
            self.are_open = False
            for listener in self._listeners:
                self._loop.change(listener.socket.fileno(), 0)

    def open(self) -> None:
        if not self.are_open and not self._out_of_descriptors and not self._closed:
            self.are_open = True
            for listener in self._listeners:
                self._loop.change(listener.socket.fileno(), IN)

    def close(self) -> None:
        """Close for good. Who waits at a socket of our own is taken; the others wait for our successor."""
        self._closed, self.are_open = True, False
        for listener in self._listeners:
            while listener.ours and self._accept(listener, IN):
                pass
            self._loop.forget(listener.socket.fileno())
        listening.close(self._listeners)

    def _accept(self, listener: Listener, _events: int) -> bool:
        """Take one: where more wait, the loop says so again in its next round."""
        try:
            client = sockets.accepted(listener.socket)
        except OSError as error:
            if sockets.is_out_of_descriptors(error):
                self._wait_for_descriptors(str(error.strerror))
            return False
        self._take(client, listener)
        return True

    def _wait_for_descriptors(self, reason: str) -> None:
        self._seldom.say("warning", "out of descriptors: new connections wait", reason=reason)
        if self.are_open:
            self.shut()
            self._out_of_descriptors = True
            self._loop.later(_OUT_OF_DESCRIPTORS_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._out_of_descriptors = False
        self.open()
