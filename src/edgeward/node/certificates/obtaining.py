"""Asks the controller for names no tier has: one flight a name, a bounded number at once, in bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgeward.errors import EdgewardError, Refused, Unavailable
from edgeward.log import logger
from edgeward.node.certificates.secrets import Kept

log = logger(__name__)
SECONDS = 10.0
_MOST_AT_ONCE = 64
_MOST_NAMES = 2_000
_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: a certificate, or why there is none. ``trouble``: it may be had a moment later."""

    name: str
    kept: Kept | None
    trouble: bool = False
    tier: str = "controller"
    closed: bool = False
    """No other new name of the same domain is to be had either, for a moment."""


class NoNewNames(Refused):
    """The domain of a name may have no more new names for a while."""


class Obtaining:
    """``fetch(name, timeout)`` gets a certificate; ``done(outcome)`` is called once for each start;
    ``closed(name)`` tells whether it has become useless to ask while a name waited for its turn.
    """

    def __init__(
        self,
        fetch: Callable[[str, float], Awaitable[Kept]],
        done: Callable[[Outcome], None],
        closed: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._closed = closed
        self._fetch = fetch
        self._done = done
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._failures = 0
        self._last_log = float("-inf")
        self.nearer: Callable[[str], Awaitable[Kept | None]] | None = None
        """Who may have it, and is asked before."""

    def start(self, name: str, group: asyncio.TaskGroup) -> bool:
        """Begin, unless it has begun; False where too many are under way."""
        if name in self._flights:
            return True
        if len(self._flights) >= _MOST_NAMES:
            return False
        self._flights[name] = group.create_task(self._fly(name))
        return True

    def __len__(self) -> int:
        return len(self._flights)

    async def _fly(self, name: str) -> None:
        outcome = Outcome(name, None, trouble=True)
        try:
            async with asyncio.timeout(SECONDS), self._places:
                outcome = await self._found(name)
        except TimeoutError:
            self._log(name, "the controller does not answer in time")
        except Unavailable as error:
            self._log(name, str(error))
        except NoNewNames as error:
            self._log(name, str(error))
            outcome = Outcome(name, None, closed=True)
        except EdgewardError as error:
            log.info("no certificate for a name", name=name, reason=str(error))
            outcome = Outcome(name, None)
        finally:
            del self._flights[name]
            self._done(outcome)

    async def _found(self, name: str) -> Outcome:
        kept = None if self.nearer is None else await self.nearer(name)
        if kept is not None:
            return Outcome(name, kept, tier="redis")
        if self._closed(name):
            raise NoNewNames("no new names of its domain for now")
        return Outcome(name, await self._fetch(name, SECONDS))

    def _log(self, name: str, problem: str) -> None:
        """One line says it for all names of the next seconds."""
        self._failures += 1
        now = time.monotonic()
        if now - self._last_log >= _LOG_SECONDS:
            log.warning("new names cannot be served", problem=problem, name=name, failed=self._failures)
            self._failures, self._last_log = 0, now
