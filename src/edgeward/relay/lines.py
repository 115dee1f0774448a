"""Log lines of the relay: one JSON object each on stderr, dropped rather than waited for."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import suppress
from typing import Literal

dropped = 0
"""Lines that nobody took in time: a full disk or a log that stands still must not stop the bytes."""


def say(
    level: Literal["info", "warning", "error"], event: str, **fields: str | float | list[str] | None
) -> None:
    global dropped
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e6):06}Z"
    head = {"time": stamp, "level": level, "program": "relay", "logger": "edgeward.relay", "event": event}
    with suppress(OSError, ValueError):
        if _takes_more():
            line = json.dumps(head | fields).replace("\x7f", "\\u007f") + "\n"
            os.write(
                sys.stderr.fileno(), line.encode()
            )  # a buffer would keep what a full disk refused, until the end
            return
    dropped += 1


def _takes_more() -> bool:
    waiting = select.poll()
    waiting.register(sys.stderr.fileno(), select.POLLOUT)
    return bool(waiting.poll(0))


class Seldom:
    """Says a thing at most once in so many seconds, with how often it happened since."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, tuple[float, int]] = {}

    def say(
        self,
        level: Literal["info", "warning", "error"],
        event: str,
        about: str = "",
        **fields: str | float | list[str],
    ) -> None:
        """``about``: what else makes it another thing; bounded, since the oldest are forgotten."""
        key, now = f"{event} {about}", time.monotonic()
        last, count = self._since.get(key, (-self._seconds, 0))
        if now - last < self._seconds:
            self._since[key] = (last, count + 1)
            return
        if len(self._since) >= _MOST_THINGS:
            self._since.pop(next(iter(self._since)))
        self._since[key] = (now, 0)
        more: dict[str, float] = {"more_since_last": count} if count else {}
        say(level, event, **fields, **more)


_MOST_THINGS = 256
