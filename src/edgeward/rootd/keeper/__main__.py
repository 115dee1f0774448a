"""Starts rootd, again whenever it dies, and says how it is on its standard input; argv is rootd's command."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Final

_CREDENTIALS: Final = 12
_LASTING: Final = 10.0
"""A rootd that ran so many seconds is started again at once."""
_LONGEST_DELAY: Final = 10.0


class Keeper:
    """``up``: a packet socket that ends with `edgeward up`; nothing is ever read from it."""

    def __init__(self, command: Sequence[str], up: socket.socket) -> None:
        self._command, self._up = command, up
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._heard.bind("")  # a name of the kernel's choice that no file has (unix(7), autobind)
        self._child: subprocess.Popen[bytes] | None = None
        self._was_ready = self._ending = False
        self._restarts = 0
        self._last_exit: str | None = None

    def run(self) -> int:
        """Keep it running until `edgeward up` or SIGTERM ends it; 2 where it can never run."""
        delay = 0.0
        while True:
            began = time.monotonic()
            code = self._one_life()
            if self._ending or self._left_alone(0.0):
                return 0
            last = _how_it_ended(code)
            if code == 2 and not self._was_ready:
                self._say("ended", f"{last}; what it said stands in the log of edgeward up")
                return 2
            self._restarts += 1
            delay = 0.0 if time.monotonic() - began > _LASTING else min(2 * delay + 0.1, _LONGEST_DELAY)
            self._say("waiting", last)
            if self._left_alone(delay):
                return 0

    def pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._ending = self._ending or number != signal.SIGHUP
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(number)

    def _one_life(self) -> int:
        address = "@" + self._heard.getsockname()[1:].decode()
        environment = {**os.environ, "NOTIFY_SOCKET": address}
        self._child = child = subprocess.Popen(self._command, env=environment)  # noqa: S603 - no shell
        self._say("starting")
        ended, events = os.pidfd_open(child.pid), select.poll()
        events.register(ended, select.POLLIN)
        events.register(self._heard, select.POLLIN)
        while ended not in [descriptor for descriptor, _ in events.poll()]:
            if self._says_ready(child.pid):
                self._was_ready = True
                self._say("ready")
        os.close(ended)
        return child.wait()

    def _says_ready(self, pid: int) -> bool:
        """Whether what came is from that process: the kernel says so, and anybody may write here."""
        with suppress(OSError):
            said, who, _, _ = self._heard.recvmsg(512, socket.CMSG_SPACE(_CREDENTIALS), socket.MSG_DONTWAIT)
            senders = [
                struct.unpack("iII", data)[0] for _, kind, data in who if kind == socket.SCM_CREDENTIALS
            ]
            return senders == [pid] and b"READY=1" in said.split(b"\n")
        return False

    def _say(self, state: str, last: str | None = None) -> None:
        self._last_exit = last or self._last_exit
        pid = self._child.pid if self._child is not None and state in ("starting", "ready") else None
        said = {"state": state, "pid": pid, "restarts": self._restarts, "last_exit": self._last_exit}
        with suppress(OSError):  # `edgeward up` has gone, or reads nothing
            self._up.send(json.dumps(said).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _left_alone(self, seconds: float) -> bool:
        """Wait, and say whether `edgeward up` has gone by then."""
        return bool(select.select([self._up], [], [], seconds)[0])


def _how_it_ended(code: int) -> str:
    with suppress(ValueError):
        return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def main() -> int:
    try:
        up = socket.socket(fileno=os.dup(0))
    except OSError:
        print("edgeward rootd: its keeper is started by `edgeward up` only", file=sys.stderr)  # noqa: T201
        return 2
    keeper = Keeper(sys.argv[1:], up)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, keeper.pass_on)
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main())
