"""What the feed brought: counted for whoever looks, and said in the log after each connection's start."""

from __future__ import annotations

import time
from collections import Counter

from edgeward.declaration.feed import ChangeMessage, Hello, Synced
from edgeward.log import logger

log = logger(__name__)


class CatchingUp:
    """Told of each message; ``total`` is since the start, by ``connections``, ``resets``, ``objects``,
    ``certificates``, ``removals`` and ``bytes``.
    """

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._began = 0.0
        self._catching = False

    def line(self, line: bytes) -> None:
        self._count("bytes", len(line) + 1)

    def hello(self, hello: Hello) -> None:
        """A connection begins, with its own first message counted already."""
        self._now = Counter()
        self._began, self._catching = time.monotonic(), True
        self.total["connections"] += 1
        self.total["resets"] += hello.reset
        self._now["resets"] += hello.reset

    def change(self, message: ChangeMessage) -> None:
        certificates = sum(put.kind == "certificates" for put in message.put)
        self._count("certificates", certificates)
        self._count("objects", len(message.put) - certificates)
        self._count("removals", len(message.remove))

    def synced(self, synced: Synced, controller: str) -> None:
        """Say what was missed, once for each connection."""
        if not self._catching:
            return
        self._catching = False
        log.info(
            "caught up with the controller",
            controller=controller,
            revision=synced.revision,
            anew=bool(self._now["resets"]),
            objects=self._now["objects"],
            certificates=self._now["certificates"],
            removed=self._now["removals"],
            bytes=self._now["bytes"],
            seconds=round(time.monotonic() - self._began, 3),
        )

    def _count(self, what: str, number: int) -> None:
        self.total[what] += number
        self._now[what] += number
