"""rootd beside `edgeward up`: what its keeper says of it, for `up.json`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from edgeward import log
from edgeward.launcher.child import how_it_ended

_log = log.logger("edgeward.up")
_TOLD: Final = "EDGEWARD_UP_ROOTD"
_MOST_BYTES: Final = 4096


def told(descriptor: int, keeper: int) -> dict[str, str]:
    """Give what hands rootd's keeper over to the same program, executed as another user."""
    return {_TOLD: f"{descriptor} {keeper}"}


def taken(environment: MutableMapping[str, str]) -> Beside | None:
    """Take what ``told`` handed over; None where no rootd was started with us."""
    words = environment.pop(_TOLD, "").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    os.set_inheritable(int(words[0]), False)
    return Beside(socket.socket(fileno=int(words[0])), int(words[1]))


class Beside:
    """``keeper`` is our child: it ends when our end of the socket does."""

    def __init__(self, said: socket.socket, keeper: int) -> None:
        self._said, self._keeper = said, keeper
        self._ended = os.pidfd_open(keeper)
        self._record: dict[str, Any] = {"pid": None, "state": "starting", "restarts": 0, "last_exit": None}
        self._since = time.time()

    def listen(self, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._said, self._hear, changed)
        loop.add_reader(self._ended, self._lost, changed)

    def close(self) -> None:
        """End rootd."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._said)
        loop.remove_reader(self._ended)
        self._said.close()

    def record(self) -> dict[str, Any]:
        return {"name": "rootd", "status": "", "since": self._since, **self._record}

    def _hear(self, changed: Callable[[], None]) -> None:
        try:
            data = self._said.recv(_MOST_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._said)
            if self._record["state"] != "ended":
                self._turn(state="ended", pid=None)
        else:
            with suppress(ValueError):
                self._take(json.loads(data))
        changed()

    def _take(self, said: dict[str, Any]) -> None:
        if said.get("state") == "waiting":
            _log.error("rootd died and is started again", exit=said["last_exit"], restarts=said["restarts"])
        elif said.get("state") == "ready":
            _log.info("rootd is ready", pid=said["pid"])
        self._turn(**said)

    def _lost(self, changed: Callable[[], None]) -> None:
        """Say that the keeper has ended; a rootd that it leaves behind goes on."""
        asyncio.get_running_loop().remove_reader(self._ended)
        code = os.waitstatus_to_exitcode(os.waitpid(self._keeper, 0)[1])
        if self._record["state"] == "ended":
            return
        ended = f"its keeper was ended ({how_it_ended(code)})"
        how = f"{ended}, so nobody would start it again; start edgeward up anew"
        _log.error("rootd is unkept", reason=how)
        self._turn(state="unkept", last_exit=how)
        changed()

    def _turn(self, **found: Any) -> None:
        self._record |= found
        self._since = time.time()
