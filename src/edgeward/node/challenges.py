"""What an authority asks of names, looked up at the controller: once for all who ask, and bounded.

Strangers may ask for any token or name. Those that are no challenge cost one small question a second each,
and never more than a few at a time: nothing that visitors need waits for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from edgeward.errors import EdgewardError
from edgeward.log import logger

log = logger(__name__)
SECONDS: Final = 4.0
_MISS_SECONDS: Final = 1.0
_MOST_MISSES: Final = 10_000
_MOST_AT_ONCE: Final = 16
_MOST_FLIGHTS: Final = 500
_LOG_SECONDS: Final = 10.0
Key = tuple[str, str]
"""Type of challenge, and its token (http-01) or name (tls-alpn-01)."""


class Challenges:
    """``fetch(type, key, timeout)`` asks a controller; None: there is no such challenge."""

    def __init__(self, fetch: Callable[[str, str, float], Awaitable[str | None]]) -> None:
        self._fetch = fetch
        self._flights: dict[Key, asyncio.Task[str | None]] = {}
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._misses: OrderedDict[Key, float] = OrderedDict()
        self._last_log = float("-inf")
        self.answered = 0
        """How many questions had an answer."""

    async def find(self, kind: str, key: str) -> str | None:
        """Give the key authorization, None where there is none or nobody can tell in time."""
        wanted = kind, key
        if self._misses.get(wanted, 0.0) > time.monotonic():
            return None
        flight = self._flights.get(wanted)
        if flight is None:
            if len(self._flights) >= _MOST_FLIGHTS:
                return None
            flight = self._flights[wanted] = asyncio.create_task(self._fly(wanted))
        value = await asyncio.shield(flight)
        self.answered += value is not None
        return value

    async def _fly(self, wanted: Key) -> str | None:
        try:
            async with asyncio.timeout(SECONDS), self._places:
                value = await self._fetch(*wanted, SECONDS)
        except (EdgewardError, TimeoutError) as error:
            self._log(wanted, str(error) or "the controller does not answer in time")
            return None
        finally:
            del self._flights[wanted]
        if value is None:
            self._miss(wanted)
        return value

    def _miss(self, wanted: Key) -> None:
        self._misses[wanted] = time.monotonic() + _MISS_SECONDS
        self._misses.move_to_end(wanted)
        if len(self._misses) > _MOST_MISSES:
            self._misses.popitem(last=False)

    def _log(self, wanted: Key, problem: str) -> None:
        now = time.monotonic()
        if now - self._last_log >= _LOG_SECONDS:
            self._last_log = now
            log.warning("challenges cannot be looked up", type=wanted[0], problem=problem)
