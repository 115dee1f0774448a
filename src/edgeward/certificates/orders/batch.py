"""Many small writes in few transactions: a commit is a disk flush, and orders are worked on side by side."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from edgeward.database.engine import Database, Writing
from edgeward.database.leases import Lease, Taken, held
from edgeward.errors import EdgewardError, Unavailable

_MOST: Final = 64
_SECONDS: Final = 60.0
_BETWEEN_SECONDS: Final = 0.05

Item = TypeVar("Item")
Change = Callable[[Writing, Sequence[Item]], Awaitable[None]]
"""Writes all these at once: a statement for many costs what one for each does."""


@dataclass(frozen=True, eq=False)
class _Wanted:
    change: Change[Any]
    item: Any
    done: asyncio.Future[EdgewardError | None]


class Batch:
    """Writes under a lease; ``run`` is its worker. What arrives while one transaction is flushed, or soon
    after it, shares the next; items of the same change share its statements. Each item is there as a whole
    or not at all, and known when ``write`` returns: items that depend on one another are written one after
    the other.
    """

    def __init__(self, database: Database, lease: Lease | None) -> None:
        self._database = database
        self._lease = lease
        self._queue: list[_Wanted] = []
        self._arrived = asyncio.Event()

    async def write(self, change: Change[Item], item: Item) -> None:
        """Carry it out, durably; raises Taken where another controller has the lease."""
        done: asyncio.Future[EdgewardError | None] = asyncio.get_running_loop().create_future()
        wanted = _Wanted(change, item, done)
        self._queue.append(wanted)
        self._arrived.set()
        try:
            async with asyncio.timeout(_SECONDS):
                error = await asyncio.shield(done)
        except TimeoutError as late:
            raise Unavailable("the database took too long") from late
        finally:
            if wanted in self._queue:  # who waits no longer would not know of it
                self._queue.remove(wanted)
        if error is not None:
            raise type(error)(*error.args) from error

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            wanted, self._queue = self._queue[:_MOST], self._queue[_MOST:]
            if not self._queue:
                self._arrived.clear()
            await self._carry_out(wanted)
            await asyncio.sleep(_BETWEEN_SECONDS)

    async def _carry_out(self, wanted: list[_Wanted]) -> None:
        error = await self._written(wanted)
        if error is None or len(wanted) == 1 or isinstance(error, (Taken, Unavailable)):
            for one in wanted:
                _tell(one, error)
            return
        for one in wanted:  # one of them is at fault, and the others are not to suffer for it
            _tell(one, await self._written([one]))

    async def _written(self, wanted: list[_Wanted]) -> EdgewardError | None:
        try:
            async with self._database.writing() as writing:
                await held(writing, self._lease)
                for change, items in _together(wanted).items():
                    await change(writing, items)
        except EdgewardError as error:
            return error
        return None


def _together(wanted: Sequence[_Wanted]) -> dict[Change[Any], list[Any]]:
    found: dict[Change[Any], list[Any]] = defaultdict(list)
    for one in wanted:
        found[one.change].append(one.item)
    return found


def _tell(one: _Wanted, error: EdgewardError | None) -> None:
    if not one.done.done():
        one.done.set_result(error)
