"""Keeps one gateway's cache from outliving a change: flushes it, tries again, and says how that goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from edgeward.controller.openresty.gateway import Cached, GatewayDoor
from edgeward.errors import EdgewardError, Unavailable
from edgeward.log import logger

_APART: Final = 5.0
"""Seconds between two flushes: an empty cache sends every visitor's name to Redis, or to us."""
_FIRST_RETRY: Final = 1.0
_LONGEST_RETRY: Final = 60.0
_STATUS_EVERY: Final = 30.0
_log = logger("edgeward.controller.openresty")

Tell = Callable[[str, str, str | None], Awaitable[None]]
"""Told what happened, to what, and why."""


@dataclass
class Standing:
    """How a gateway is, as people see it; times are Unix seconds."""

    url: str
    state: str = "waiting"
    """waiting, flushed or failing."""
    since: float = 0.0
    reason: str | None = None
    flushed: float | None = None
    flushes: int = 0
    failures: int = 0
    cached: Cached | None = None
    asked: float | None = None
    unread: str | None = None
    """Why its status could not be read the last time."""

    def shown(self) -> dict[str, Any]:
        cached = self.cached
        return {
            "url": self.url,
            "state": self.state,
            "since": self.since,
            "reason": self.reason,
            "flushed": self.flushed,
            "flushes": self.flushes,
            "failures": self.failures,
            "status_unread": self.unread,
            "cached": None
            if cached is None
            else {
                "at": self.asked,
                "valid": cached.valid,
                "invalid": len(cached.invalid),
                "autocert": cached.autocert,
                "client": cached.version,
                "failures_kept_seconds": cached.failures_kept,
            },
        }


class Flushing:
    """``servable`` says whether any of some names has a certificate by now."""

    def __init__(
        self,
        door: GatewayDoor,
        servable: Callable[[Collection[str]], Awaitable[bool]],
        tell: Tell,
        clock: Callable[[], float],
        apart: float = _APART,
    ) -> None:
        self.standing = Standing(door.url, since=clock())
        self._door = door
        self._servable = servable
        self._tell = tell
        self._clock = clock
        self._apart = apart
        self._wanted = asyncio.Event()
        self._wanted.set()  # what happened before we came is not known

    def want(self) -> None:
        """Have the cache emptied soon; asked for many times, it is done once."""
        self._wanted.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush())
            group.create_task(self._watch())

    async def _flush(self) -> None:
        pause = _FIRST_RETRY
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._door.expire_all()
            except Unavailable as error:
                self._wanted.set()
                await self._failed(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_RETRY)
                continue
            pause = _FIRST_RETRY
            await self._done()
            await asyncio.sleep(self._apart)

    async def _watch(self) -> None:
        """Read its status: a failure it keeps of a name that has a certificate by now is to go, too."""
        while True:
            await asyncio.sleep(_STATUS_EVERY)
            if self._wanted.is_set():
                continue
            try:
                self.standing.cached = cached = await self._door.cached()
                self.standing.asked = self._clock()
                if cached.invalid and await self._servable(cached.invalid):
                    _log.info("a gateway keeps failures of names we can serve", gateway=self._door.url)
                    self.want()
                self.standing.unread = None
            except EdgewardError as error:
                self.standing.unread = str(error)

    async def _failed(self, reason: str) -> None:
        standing, before = self.standing, self.standing.state
        standing.failures += 1
        standing.reason = reason
        if before != "failing":
            standing.state, standing.since = "failing", self._clock()
            _log.warning("a gateway's cache cannot be emptied", gateway=self._door.url, reason=reason)
            await self._tell("gateway_failing", self._door.url, reason)

    async def _done(self) -> None:
        standing, before = self.standing, self.standing.state
        standing.flushes += 1
        standing.flushed = self._clock()
        standing.reason = None
        if before != "flushed":
            standing.state, standing.since = "flushed", self._clock()
        if before == "failing":
            _log.info("a gateway's cache is emptied again", gateway=self._door.url)
            await self._tell("gateway_well", self._door.url, None)
