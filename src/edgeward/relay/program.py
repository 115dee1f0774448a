"""The relay at work: takes clients, connects them, counts, and ends in good order."""

from __future__ import annotations

import os
import signal
from time import monotonic
from typing import Final

from edgeward import notify
from edgeward.relay import lines, peers, sockets
from edgeward.relay.backend import Fixed, Named
from edgeward.relay.config import MOST_PIPES, Config
from edgeward.relay.connecting import Connecting
from edgeward.relay.connection import Connection
from edgeward.relay.doors import Doors
from edgeward.relay.lines import Seldom, say
from edgeward.relay.listening import Listener
from edgeward.relay.loop import Loop, Timer
from edgeward.relay.measures import Measures, State
from edgeward.relay.pipes import Pipes
from edgeward.relay.place import UNIX, Address
from edgeward.relay.proxy_protocol import header
from edgeward.relay.sockets import Socket

_SWEEP_SECONDS: Final = 0.25
_STATUS_SECONDS: Final = 2.0
_SAY_SECONDS: Final = 60


class Relay:
    """One backend, any number of listening sockets."""

    def __init__(self, config: Config, listeners: list[Listener], backend: Fixed | Named, loop: Loop) -> None:
        self._config, self._backend, self._loop = config, backend, loop
        self._listeners = listeners
        self._pipes = Pipes(MOST_PIPES)
        self._connecting: dict[Connecting, None] = {}
        self._connections: set[Connection] = set()
        self._draining = False
        self._sweep: Timer | None = None
        self._exit: Timer | None = None
        self._idle_since = 0.0
        self._told_status: Timer | None = None
        self._has_manager = bool(os.environ.get("NOTIFY_SOCKET"))
        self._seldom = Seldom(_SAY_SECONDS)
        self.measures = Measures()

    def start(self) -> None:
        self._doors = Doors(self._listeners, self._loop, self._take)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.on_signal(number, self.drain)
        self._exit_when_idle()
        self._keep_watchdog_quiet()
        self._backend.start()
        notify.ready(self.state().line())
        say("info", "relay started", to=str(self._config.target), listen=list(self._doors.names))

    @property
    def count(self) -> int:
        return len(self._connecting) + len(self._connections)

    def state(self) -> State:
        named = self._backend if isinstance(self._backend, Named) else None
        return State(
            measures=self.measures,
            target=str(self._config.target),
            listen=self._doors.names,
            connections=len(self._connections),
            connecting=len(self._connecting),
            connections_max=self._config.connections_max,
            bytes_up=self.measures.bytes_up + sum(c.up.moved for c in self._connections),
            bytes_down=self.measures.bytes_down + sum(c.down.moved for c in self._connections),
            addresses=tuple(map(str, self._backend.addresses)),
            log_lines_dropped=lines.dropped,
            dns_age=named.book.age(monotonic()) if named else None,
            dns_failures=named.book.failures if named else 0,
            dns_failing=named.book.failing if named else "",
        )

    # --- new connections --------------------------------------------------------------------------

    def _take(self, client: Socket, listener: Listener) -> None:
        if listener.is_unix and not self._config.allowed.everybody and not self._may(client):
            return
        self.measures.accepted += 1
        config = self._config
        new = Connecting(client, self._loop, config.connect_timeout, self._connected, self._not_connected)
        self._connecting[new] = None
        if self._sweep is None:
            self._sweep = self._loop.later(_SWEEP_SECONDS, self._look_at_the_clock)
        if self.count >= config.connections_max and self._doors.are_open:
            self.measures.full += 1
            self._seldom.say(
                "warning", "full: new connections wait in the backlog", most=config.connections_max
            )
            self._doors.shut()
        self._backend.connect(new)

    def _may(self, client: Socket) -> bool:
        try:
            peer = peers.peer_of(client)
        except OSError:
            client.close()
            return False
        if self._config.allowed.allows(peer):
            return True
        self.measures.refused += 1
        self._seldom.say("warning", "user not allowed", str(peer.user), user=peer.user, pid=peer.pid)
        client.close()
        return False

    def _connected(self, connecting: Connecting, backend: Socket, address: Address, events: int) -> None:
        del self._connecting[connecting]
        self.measures.connected(monotonic() - connecting.since)
        if len(connecting.tried) > 1:
            self._backend.slow(address, connecting.tried)
        first = self._header(connecting.client) if self._config.proxy_protocol else b""
        made = Connection(connecting.client, backend, self._loop, self._pipes, self._ended, first)
        self._connections.add(made)
        made.start(events)
        if self._told_status is None and self._has_manager:
            self._told_status = self._loop.later(_STATUS_SECONDS, self._tell_status)

    def _header(self, client: Socket) -> bytes:
        try:
            return header(client.family, client.getpeername(), client.getsockname())
        except OSError:  # it is gone already
            return header(UNIX, "", "")

    def _not_connected(self, connecting: Connecting, reason: str) -> None:
        del self._connecting[connecting]
        self.measures.unreached += 1
        sockets.set_to_reset(connecting.client)
        self._loop.close(connecting.client)
        self._seldom.say("warning", "backend not reached", reason, reason=reason)
        self._one_less()

    def _ended(self, connection: Connection) -> None:
        self.measures.bytes_up += connection.up.moved
        self.measures.bytes_down += connection.down.moved
        self._connections.discard(connection)
        self._one_less()

    def _one_less(self) -> None:
        if self._draining:
            if self.count == 0:
                self._loop.stop()
            return
        if not self._doors.are_open:
            self._doors.open()
        if self.count == 0:
            self._exit_when_idle()

    # --- what the clock brings --------------------------------------------------------------------

    def _look_at_the_clock(self) -> None:
        """Give up on what was connected to in vain, and end what has been idle for too long."""
        self._sweep = None
        for connecting in list(self._connecting):
            if not connecting.overdue():
                break  # the others were begun later
        if self._config.idle_timeout is not None:
            before = monotonic() - self._config.idle_timeout
            for connection in [c for c in self._connections if c.at < before]:
                self.measures.idle += 1
                connection.cut()
        if self._connecting or (self._config.idle_timeout is not None and self._connections):
            self._sweep = self._loop.later(_SWEEP_SECONDS, self._look_at_the_clock)

    def _tell_status(self) -> None:
        """Say how it is, and once more after the last connection's end; an idle relay sleeps."""
        notify.status(self.state().line())
        again = self._loop.later(_STATUS_SECONDS, self._tell_status) if self.count else None
        self._told_status = again

    def _keep_watchdog_quiet(self) -> None:
        every = notify.watchdog_seconds()
        if every is not None:
            notify.watchdog()
            self._loop.later(every, self._keep_watchdog_quiet)

    # --- the end ----------------------------------------------------------------------------------

    def _exit_when_idle(self) -> None:
        """Have one timer, however often connections come and go before it rings."""
        self._idle_since = monotonic()
        if self._config.exit_idle_time is not None and self._exit is None and self.count == 0:
            self._exit = self._loop.later(self._config.exit_idle_time, self._exit_idle)

    def _exit_idle(self) -> None:
        self._exit = None
        if self.count or self._draining or self._config.exit_idle_time is None:
            return
        left = self._idle_since + self._config.exit_idle_time - monotonic()
        if left > 0:
            self._exit = self._loop.later(left, self._exit_idle)
            return
        say("info", "idle, exiting", seconds=self._config.exit_idle_time)
        self.drain()

    def drain(self) -> None:
        """Accept no more; let what goes on go on, for so long, and end. Called again: end at once."""
        if self._draining:
            self._cut_all()
            return
        self._draining = True
        notify.stopping()
        self._doors.close()
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
