"""The relay at work: accepts, connects, counts, and ends in good order."""

from __future__ import annotations

import signal
from functools import partial
from time import monotonic
from typing import Final

from edgeward import notify
from edgeward.relay import listening, sockets
from edgeward.relay.config import MOST_PIPES, Config
from edgeward.relay.connecting import Connecting
from edgeward.relay.connection import Connection
from edgeward.relay.lines import Seldom, say
from edgeward.relay.listening import Listener
from edgeward.relay.loop import IN, Loop, Timer
from edgeward.relay.pipes import Pipes
from edgeward.relay.place import Address
from edgeward.relay.sockets import Socket

_SWEEP_SECONDS: Final = 0.25
_OUT_OF_DESCRIPTORS_SECONDS: Final = 1.0


class Relay:
    """One backend, any number of listening sockets."""

    def __init__(self, config: Config, listeners: list[Listener], loop: Loop) -> None:
        self._config, self._listeners, self._loop = config, listeners, loop
        self._pipes = Pipes(MOST_PIPES)
        self._connecting: dict[Connecting, None] = {}
        self._connections: set[Connection] = set()
        self._accepting = self._draining = False
        self._sweep: Timer | None = None
        self._exit: Timer | None = None
        self._seldom = Seldom(60)

    def start(self) -> None:
        for listener in self._listeners:
            self._loop.watch(listener.socket.fileno(), partial(self._accept, listener), IN)
        self._accepting = True
        self._loop.on_signal(signal.SIGTERM, self.drain)
        self._loop.on_signal(signal.SIGINT, self.drain)
        self._exit_when_idle()
        notify.ready("waiting for connections")
        names = [listener.name for listener in self._listeners]
        say("info", "relay started", to=str(self._config.target), listen=names)

    @property
    def count(self) -> int:
        return len(self._connecting) + len(self._connections)

    # --- new connections --------------------------------------------------------------------------

    def _accept(self, listener: Listener, _events: int) -> None:
        """Take one: where more wait, the loop says so again in its next round."""
        try:
            client = sockets.accepted(listener.socket)
        except OSError as error:
            self._not_accepted(error)
            return
        self._take(client)
        if self.count >= self._config.connections_max:
            self._seldom.say(
                "warning", "full: new connections wait in the backlog", most=self._config.connections_max
            )
            self._pause()

    def _take(self, client: Socket) -> None:
        if self._exit is not None:
            self._exit.cancel()
            self._exit = None
        new = Connecting(
            client, self._loop, self._config.connect_timeout, self._connected, self._not_connected
        )
        self._connecting[new] = None
        if self._sweep is None:
            self._sweep = self._loop.later(_SWEEP_SECONDS, self._look_at_the_clock)
        new.start(self._addresses())

    def _addresses(self) -> list[Address]:
        assert isinstance(self._config.target, Address)
        return [self._config.target]

    def _connected(self, connecting: Connecting, backend: Socket, _address: Address, events: int) -> None:
        del self._connecting[connecting]
        made = Connection(connecting.client, backend, self._loop, self._pipes, self._ended)
        self._connections.add(made)
        made.start(events)

    def _not_connected(self, connecting: Connecting, reason: str) -> None:
        del self._connecting[connecting]
        sockets.set_to_reset(connecting.client)
        self._loop.close(connecting.client)
        self._seldom.say("warning", "backend not reached", reason, reason=reason)
        self._one_less()

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._one_less()

    def _one_less(self) -> None:
        if self._draining:
            if self.count == 0:
                self._loop.stop()
        elif not self._accepting:
            self._resume()
        elif self.count == 0:
            self._exit_when_idle()

    # --- waiting ----------------------------------------------------------------------------------

    def _not_accepted(self, error: OSError) -> None:
        """Wait until descriptors are free again: what cannot be accepted stays in the backlog."""
        if sockets.is_out_of_descriptors(error):
            self._seldom.say(
                "warning", "out of descriptors: new connections wait", reason=str(error.strerror)
            )
            self._pause()
            self._loop.later(_OUT_OF_DESCRIPTORS_SECONDS, self._resume)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                self._loop.change(listener.socket.fileno(), 0)

    def _resume(self) -> None:
        if not self._accepting and not self._draining and self.count < self._config.connections_max:
            self._accepting = True
            for listener in self._listeners:
                self._loop.change(listener.socket.fileno(), IN)

    def _look_at_the_clock(self) -> None:
        """Give up on what was connected to in vain, and end what has been idle for too long."""
        self._sweep = None
        for connecting in list(self._connecting):
            if not connecting.overdue():
                break  # the others were begun later
        if self._config.idle_timeout is not None:
            before = monotonic() - self._config.idle_timeout
            for connection in [c for c in self._connections if c.at < before]:
                connection.cut()
        if self._connecting or (self._config.idle_timeout is not None and self._connections):
            self._sweep = self._loop.later(_SWEEP_SECONDS, self._look_at_the_clock)

    # --- the end ----------------------------------------------------------------------------------

    def _exit_when_idle(self) -> None:
        if self._config.exit_idle_time is not None and self._exit is None and not self._draining:
            self._exit = self._loop.later(self._config.exit_idle_time, self._exit_idle)

    def _exit_idle(self) -> None:
        say("info", "idle, exiting", seconds=self._config.exit_idle_time)
        self.drain()

    def drain(self) -> None:
        """Accept no more; let what goes on go on, for so long, and end. Called again: end at once."""
        if self._draining:
            self._loop.stop()
            return
        self._draining = True
        notify.stopping()
        for listener in self._listeners:
            self._loop.forget(listener.socket.fileno())
        listening.close(self._listeners)
        if self.count == 0:
            self._loop.stop()
            return
        say("info", "draining", connections=self.count, seconds=self._config.drain)
        self._loop.later(self._config.drain, self._cut_all)

    def _cut_all(self) -> None:
        say("warning", "connections cut at the end of the drain", connections=self.count)
        for connecting in list(self._connecting):
            connecting.abandon()
            sockets.set_to_reset(connecting.client)
            connecting.client.close()
        for connection in list(self._connections):
            connection.cut()
        self._loop.stop()
