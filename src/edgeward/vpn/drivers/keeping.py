"""Has what should be up come up again: daemons give up for good where a peer refuses it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from edgeward.errors import EdgewardError

_FIRST: Final = 1.0
_MOST: Final = 60.0
_A_LOOK: Final = 5.0
"""Seconds until one that is on its way is looked at again."""


class Keeper:
    """``again``: has one come up unless it does already; gives whether it is up (None: on its way)."""

    def __init__(self, again: Callable[[str], Awaitable[bool | None]]) -> None:
        self._again = again
        self._wanted: set[str] = set()
        self._due: dict[str, tuple[float, float]] = {}
        """When it is looked at, and how long to wait then: seconds of the monotonic clock."""
        self._wake = asyncio.Event()

    def want(self, connection: str) -> None:
        self._wanted.add(connection)
        self._due[connection] = time.monotonic() + _A_LOOK, _FIRST
        self._wake.set()

    def leave(self, connection: str) -> None:
        self._wanted.discard(connection)
        self._due.pop(connection, None)

    @contextmanager
    def told(self, connection: str, *, keep: bool) -> Iterator[None]:
        """Want one, or leave it, from now on; where its daemon is not told of it, it is as it was before."""
        before = connection in self._wanted
        (self.want if keep else self.leave)(connection)
        try:
            yield
        except BaseException:
            (self.want if before else self.leave)(connection)
            raise

    def went(self, connections: Iterable[str]) -> None:
        """Look after some that went down; one that is waited for anyway is not hurried."""
        for one in connections:
            if one in self._wanted:
                due, wait = self._due.get(one, (float("inf"), _FIRST))
                self._due[one] = min(due, time.monotonic() + wait * _chance()), wait
        self._wake.set()

    @property
    def wanted(self) -> Collection[str]:
        return self._wanted

    def wants(self, connection: str) -> bool:
        return connection in self._wanted

    def waits(self, connection: str) -> bool:
        return connection in self._due

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            for one in [one for one, (due, _) in self._due.items() if due <= now]:
                await self._look(one)
            following = min((due for due, _ in self._due.values()), default=None)
            self._wake.clear()
            wait = None if following is None else max(0.0, following - time.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):  # before 3.12 wait_for may go on though it is cancelled
                    await self._wake.wait()

    async def _look(self, one: str) -> None:
        due = self._due.pop(one, None)
        if due is None:
            return  # it was left alone while another was looked after
        wait = due[1]
        try:
            up = await self._again(one)
        except EdgewardError:
            up = False
        if up or one not in self._wanted:
            return
        seconds = _A_LOOK if up is None else wait
        longer = wait if up is None else min(_MOST, 2 * wait)
        self._due[one] = time.monotonic() + seconds * _chance(), longer


def _chance() -> float:
    """Of a wait: so that both ends of a tunnel, and all tunnels of a place, do not begin at once."""
    return random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
