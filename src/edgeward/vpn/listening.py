"""Those who follow which connections may be in another state: each is told once however often it happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable


class Listeners:
    def __init__(self) -> None:
        self._all: list[_Listener] = []

    def tell(self, ids: Iterable[str]) -> None:
        told = dict.fromkeys(ids)
        for listener in self._all:
            listener.changed.update(told)
            listener.wake.set()

    def end(self) -> None:
        """End all who follow, once they have heard everything."""
        for listener in self._all:
            listener.ended = True
            listener.wake.set()

    async def each(self) -> AsyncIterator[str]:
        listener = _Listener()
        self._all.append(listener)
        try:
            while not listener.ended or listener.changed:
                if not listener.changed:
                    listener.wake.clear()
                    await listener.wake.wait()
                    continue
                following = next(iter(listener.changed))
                del listener.changed[following]
                yield following
        finally:
            self._all.remove(listener)


class _Listener:
    def __init__(self) -> None:
        self.changed: dict[str, None] = {}
        self.wake = asyncio.Event()
        self.ended = False
