"""A rootd that comes back whatever is killed of it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from edgeward.cli.up import keeper_command
from tests.integration.processes import until
from tests.integration.rootd_rig import Readable

_OPTIONS: Final = ("--user", "0", "--vpn-user", "games", "--relay-user", "games")


class KeptRootd(Readable):
    """A rootd and its keeper; where that dies, both are started anew, as systemd does with `edgeward up`."""

    def __init__(self, place: Path, python: str) -> None:
        super().__init__(place, python)
        self.keeper: subprocess.Popen[bytes] | None = None
        self.said: dict[str, Any] = {}
        self._ended = threading.Event()

    @contextmanager
    def kept(self) -> Iterator[None]:
        thread = threading.Thread(target=self._keep, daemon=True)
        thread.start()
        try:
            until(self.answers, 30, "rootd answers")
            yield
        finally:
            self._ended.set()
            thread.join(30)

    def pid_of(self, what: str) -> int:
        if what == "keeper":
            return 0 if self.keeper is None else self.keeper.pid
        return int(self.said.get("pid") or 0) if self.said.get("state") == "ready" else 0

    def _keep(self) -> None:
        while not self._ended.is_set():
            self._one_life()

    def _one_life(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [*keeper_command(), *self.command(), "--attached", *_OPTIONS]
        with ours, (self.place / "rootd.out").open("ab") as out:
            with theirs:
                self.keeper = subprocess.Popen(
                    argv, stdin=theirs.fileno(), stdout=out, stderr=out, process_group=0
                )
            ours.settimeout(0.2)
            while self.keeper.poll() is None and not self._ended.is_set():
                with suppress(TimeoutError, ValueError):
                    self.said = json.loads(ours.recv(4096) or b"{}")
        self.keeper.wait(30)
        self.said = {}
        time.sleep(0.2)
