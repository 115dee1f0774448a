"""Visitors' names whose certificates are ordered from other authorities: queued, watched, and told of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import store
from edgeward.certificates.issue import Issuance
from edgeward.certificates.model import Kept, Order
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.model import Queued, Wish
from edgeward.database.engine import current_revision
from edgeward.errors import EdgewardError, Unavailable
from edgeward.log import logger

MOST: Final = 5000
_SECONDS: Final = 60.0
_LOOK_AGAIN: Final = 0.5
_PAUSE: Final = 0.05
_log = logger("edgeward.certificates.on_demand.awaiting")

Outcome = Kept | EdgewardError


@dataclass(frozen=True)
class _Awaited:
    certificate: str
    until: float
    """By the event loop's clock."""


class Awaiting:
    """``land`` is called with what came of names; ``run`` watches for it, whichever controller orders."""

    def __init__(self, issuance: Issuance, land: Callable[[Mapping[str, Outcome]], None]) -> None:
        self._issuance = issuance
        self._land = land
        self._names: dict[str, _Awaited] = {}
        self._any = asyncio.Event()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def clear(self) -> None:
        self._names.clear()

    async def add(self, wanted: Mapping[str, Order], now: float) -> dict[str, Outcome]:
        """Queue orders for names visitors wait for; give those that need not wait: it is of no use."""
        async with self._issuance.database.reading() as connection:
            known = await queue.states(connection, [order.name for order in wanted.values()])
            visitors = await queue.of_visitors(connection)
        outcomes: dict[str, Outcome] = {}
        fresh: dict[str, Order] = {}
        awaited: dict[str, _Awaited] = {}
        for name, order in wanted.items():
            queued = known.get(order.name)
            if queued is not None and not queued.stands_for(order):
                queued = None
            if queued is not None and queued.state == "failed" and queued.due > now:
                outcomes[name] = _failed(queued)
            elif len(self._names) + len(awaited) >= MOST or (
                queued is None and visitors >= queue.MOST_OF_VISITORS
            ):
                outcomes[name] = Unavailable("too many names are being ordered already; try again later")
            else:
                if queued is None or queued.state == "failed" or queued.reason != "visitor":
                    fresh[order.name] = order
                until = asyncio.get_running_loop().time() + _SECONDS
                awaited[name] = _Awaited(order.name, until)
        if fresh:
            async with self._issuance.database.writing() as writing:
                await queue.add(writing, [Wish(order, "visitor") for order in fresh.values()], now)
            self._issuance.ordered.set()
        self._names.update(awaited)  # not before: a look meanwhile would find no order, or a failed one
        self._any.set()
        return outcomes

    async def run(self) -> None:
        """Look at what is awaited whenever something was stored, until cancelled."""
        revision = 0
        while True:
            if not self._names:
                self._any.clear()
                await self._any.wait()
            await self._issuance.database.changed_since(revision, _LOOK_AGAIN)
            try:
                revision = await self._look()
            except EdgewardError as error:
                _log.warning("what is ordered cannot be looked at", reason=str(error))
            await asyncio.sleep(_PAUSE)

    async def _look(self) -> int:
        awaited = dict(self._names)
        async with self._issuance.database.reading() as connection:
            revision = await current_revision(connection)
            outcomes = await self._come(connection, awaited)
        late = asyncio.get_running_loop().time()
        for name, one in awaited.items():
            if one.until <= late and name not in outcomes:
                outcomes[name] = Unavailable(f"the certificate for {name} is being ordered; try again later")
        for name in outcomes:
            self._names.pop(name, None)
        self._land(outcomes)
        return revision

    async def _come(self, connection: AsyncConnection, awaited: Mapping[str, _Awaited]) -> dict[str, Outcome]:
        now, names = self._issuance.clock(), list(awaited)
        outcomes: dict[str, Outcome] = {**await store.find_all(connection, self._issuance.seal, names, now)}
        left: Sequence[str] = [name for name in names if name not in outcomes]
        queued = await queue.states(connection, sorted({awaited[name].certificate for name in left}))
        for name in left:
            order = queued.get(awaited[name].certificate)
            if order is None:
                outcomes[name] = Unavailable(f"the order for {name} was taken back; try again")
            elif order.state == "failed":
                outcomes[name] = _failed(order)
        return outcomes


def _failed(queued: Queued) -> EdgewardError:
    return Unavailable(f"the certificate for {queued.name} could not be had: {queued.problem}")
