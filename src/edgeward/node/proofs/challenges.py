"""What authorities ask of names now, as the controllers have it: looked up together for all who ask.

Strangers may ask for any token or name, as fast as they like. Whoever asks for what is not known here waits
for the next look at all challenges there are, and there are only so many looks a second: nobody can keep an
authority from its answer, and nothing that visitors need waits for strangers. While no controller answers, as
when one is started again after a kill, looks are tried again for as long as Envoy waits: an authority that
got no answer would count a failure against the name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from edgeward.errors import EdgewardError
from edgeward.log import logger

log = logger(__name__)
SECONDS: Final = 4.5
"""Envoy waits for five (``gateway.envoy.proofs``)."""
_BETWEEN_SECONDS: Final = 0.05
_AGAIN_SECONDS: Final = 0.2
_KEPT_SECONDS: Final = 10.0
_LOG_SECONDS: Final = 10.0
Key = tuple[str, str]
"""Type of challenge, and its token (http-01) or name (tls-alpn-01)."""


class Challenges:
    """``fetch(timeout)`` gives all there are, with what each is answered with."""

    def __init__(
        self, fetch: Callable[[float], Awaitable[Mapping[Key, str]]], seconds: float = SECONDS
    ) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._known: Mapping[Key, str] = {}
        self._known_at = float("-inf")
        self._next: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._last_log = float("-inf")
        self.answered = 0
        """How many questions had an answer."""

    async def find(self, kind: str, key: str) -> str | None:
        """Give the key authorization, None where there is none or nobody can tell in time."""
        value = self._fresh().get((kind, key))
        if value is None:
            await self._looked()
            value = self._fresh().get((kind, key))
        self.answered += value is not None
        return value

    def _fresh(self) -> Mapping[Key, str]:
        return self._known if time.monotonic() - self._known_at < _KEPT_SECONDS else {}

    async def _looked(self) -> None:
        """Wait for a look that begins from now on: one that is under way may have missed what is new."""
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        await asyncio.shield(self._next)

    async def _look(self) -> None:
        async with self._looking:
            await asyncio.sleep(max(0.0, self._looked_at + _BETWEEN_SECONDS - time.monotonic()))
            self._next = None
            end = time.monotonic() + self._seconds
            while not await self._fetched(max(0.0, end - time.monotonic())):
                if time.monotonic() + _AGAIN_SECONDS >= end:
                    return
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _fetched(self, seconds: float) -> bool:
        self._looked_at = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                self._known = await self._fetch(seconds)
        except (EdgewardError, TimeoutError) as error:
            self._log(str(error) or "the controller does not answer in time")
            return False
        self._known_at = self._looked_at
        return True

    def _log(self, problem: str) -> None:
        now = time.monotonic()
        if now - self._last_log >= _LOG_SECONDS:
            self._last_log = now
            log.warning("challenges cannot be looked up", problem=problem)
