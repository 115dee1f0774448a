"""Whoever asks a relay how it is, is answered; and costs it nothing while it cannot answer."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

from edgeward.relay.listening import opened
from edgeward.relay.loop import Event, Loop
from edgeward.relay.measures import Measures, State
from edgeward.relay.place import listening
from edgeward.relay.telling import Telling
from tests.patience import PATIENCE


class Counting(Loop):
    """A loop that counts how often it calls back."""

    def __init__(self) -> None:
        self.calls = 0
        super().__init__()

    def watch(self, fd: int, event: Event, events: int) -> None:
        def counted(told: int) -> None:
            self.calls += 1
            event(told)

        super().watch(fd, counted, events)


def state() -> State:
    return State(Measures(), "unix:/b", ("unix:/f",), 0, 0, 1, 0, 0, ())


def test_without_descriptors_it_rests_and_answers_when_there_are_some_again(tmp_path: Path) -> None:
    loop = Counting()
    (listener,) = opened([listening(f"unix:{tmp_path}/s")])
    Telling(listener, loop, state)
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(str(tmp_path / "s"))
    asking.sendall(b"GET /status HTTP/1.1\r\n\r\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def give_back() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        loop.later(30 * PATIENCE, loop.stop)
        look()

    def look() -> None:
        try:
            seen.append(asking.recv(65536, socket.MSG_DONTWAIT))
            loop.stop()
        except BlockingIOError:
            loop.later(0.05, look)

    seen: list[bytes] = []
    free = os.dup(asking.fileno())
    os.close(free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        loop.later(0.3, give_back)
        loop.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert seen and b'"target": "unix:/b"' in seen[0]
    assert loop.calls < 10
    asking.close()
    listener.socket.close()
