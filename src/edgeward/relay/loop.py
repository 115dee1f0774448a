"""The event loop: edge-triggered epoll, timers, and sockets closed only between two rounds."""

from __future__ import annotations

import heapq
import os
import select
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import Final

from edgeward.relay.lines import Seldom
from edgeward.relay.sockets import Socket

Event = Callable[[int], object]

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
LOST: Final = select.EPOLLHUP | select.EPOLLERR
ENDING: Final = select.EPOLLRDHUP | LOST
URGENT: Final = select.EPOLLPRI
READING: Final = IN | URGENT | select.EPOLLRDHUP | select.EPOLLET
"""Edge-triggered: told once of each change, so that nothing is switched on and off while bytes move."""
BOTH: Final = READING | OUT
"""Also told when there is room to write; a Unix socket tells that for each message its peer takes."""

_MOST_EVENTS = 512
_LONGEST_WAIT: Final = 86_400.0
"""In seconds; epoll_wait(2) takes less than 25 days, and who waits for longer waits again."""
_SAY_SECONDS = 60


class Timer:
    """Something that is to happen later, unless it is cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Calls back what waits for descriptors, for a time, or for its turn; all in one thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Event] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._soon: list[Callable[[], None]] = []
        self._closing: list[Socket] = []
        self._running = True
        self._seldom = Seldom(_SAY_SECONDS)
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watch(self._woken, self._wake, IN)

    def watch(self, fd: int, event: Event, events: int) -> None:
        self._epoll.register(fd, events)
        self._watched[fd] = event

    def hand_over(self, fd: int, event: Event) -> None:
        """Have another be called for a descriptor that is watched already."""
        self._watched[fd] = event

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor that stays open."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self, socket: Socket) -> None:
        """Close a socket once this round's events are through.

        Its number would else be another socket's before the last of the old one's events is told.
        """
        self._watched.pop(socket.fileno(), None)
        self._closing.append(socket)

    def soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def on_signal(self, number: signal.Signals, call: Callable[[], None]) -> None:
        """Have a signal end the wait, and its call made in the loop's own turn."""

        def received(_number: int, _frame: object) -> None:
            self._soon.append(call)
            os.eventfd_write(self._woken, 1)

        signal.signal(number, received)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Go round until ``stop()``."""
        poll, watched, closing = self._epoll.poll, self._watched, self._closing
        while self._running:
            for fd, events in poll(self._patience(), _MOST_EVENTS):
                event = watched.get(fd)
                if event is not None:
                    try:
                        event(events)
                    except Exception as error:  # one connection's trouble must not be ten thousand others'
                        self._told_of(error)
            if self._timers:
                self._ring()
            if self._soon:
                calls, self._soon = self._soon, []
                for call in calls:
                    self._called(call)
            if closing:
                for socket in closing:
                    socket.close()
                closing.clear()

    def _called(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._told_of(error)

    def _told_of(self, error: Exception) -> None:
        import traceback  # takes longer than most of us to import, for what should never happen

        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
        self._seldom.say("error", "unexpected", where, error=repr(error), where=where)

    def _patience(self) -> float:
        if self._soon:
            return 0
        if not self._timers:
            return -1
        return min(_LONGEST_WAIT, max(0.0, self._timers[0][0] - time.monotonic()))

    def _ring(self) -> None:
        timers, now = self._timers, time.monotonic()
        while timers and timers[0][0] <= now:
            call = heapq.heappop(timers)[2].call
            if call is not None:
                self._called(call)

    def _wake(self, _events: int) -> None:
        try:
            os.eventfd_read(self._woken)
        except BlockingIOError:
            return
