"""The use case of events: streams that read the table at their readers' pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from edgeward.access.authenticate import Authenticator
from edgeward.access.model import Principal
from edgeward.api.events import Follow, place, reset, sent
from edgeward.controller.at_once import OpenAtOnce
from edgeward.controller.declared.rights import visible
from edgeward.database.engine import Database, current_revision
from edgeward.declaration import events
from edgeward.declaration.events import Wanted
from edgeward.errors import EdgewardError, Unavailable
from edgeward.log import logger

_PAGE: Final = 200
_HEARTBEAT: Final = 15.0
_CHECK_TOKEN: Final = 1.0
_LOOK: Final = 1.0
_GATHER: Final = 0.02
_WAIT: Final = 2.0
_MOST_STREAMS: Final = 200
_MOST_OF_ONE: Final = 20
_log = logger("edgeward.controller.events")


class Tail:
    """Looks for new events once for all streams; other controllers write some of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest = 0
        self._looked = 0
        self._readers = 0
        self._wanted = asyncio.Event()
        self._changed = asyncio.Condition()
        self.ending = False

    async def run(self) -> None:
        """Look while somebody waits, until cancelled."""
        while True:
            await self._wanted.wait()
            await self._database.changed_since(self._looked, _LOOK)
            try:
                await self._look()
            except EdgewardError as error:
                _log.warning("events cannot be read", reason=str(error))
                await asyncio.sleep(_LOOK)
            await asyncio.sleep(_GATHER)

    async def beyond(self, position: int, timeout: float) -> bool:
        """Wait for events behind ``position``, or the end; False after ``timeout`` seconds."""
        self._readers += 1
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._newest > position or self.ending)
        except TimeoutError:
            return False
        finally:
            self._readers -= 1
            if not self._readers:
                self._wanted.clear()
        return True

    async def end(self) -> None:
        self.ending = True
        async with self._changed:
            self._changed.notify_all()

    async def _look(self) -> None:
        async with self._database.reading() as connection:
            self._looked = await current_revision(connection)
            newest = (await events.stretch(connection)).newest
        async with self._changed:
            self._newest = newest
            self._changed.notify_all()


class Events:
    def __init__(self, database: Database, access: Authenticator) -> None:
        self._database = database
        self._access = access
        self._open = OpenAtOnce("follows events", _MOST_OF_ONE)
        self.tail = Tail(database)

    async def followed(self, who: Principal, wanted: Follow) -> AsyncGenerator[bytes, None]:
        seen = Wanted(wanted.types, visible(who, wanted.project))
        self._open.check(who)
        if self._open.total >= _MOST_STREAMS:
            raise Unavailable(f"events are followed {_MOST_STREAMS} times already; ask another controller")
        async with self._database.reading() as connection:
            position = wanted.after
            if position is None and wanted.last:
                position = await events.place_before(connection, wanted.last, seen)
            elif position is None:
                position = (await events.stretch(connection)).newest
        return self._counted(who, self._lines(who, seen, position, wanted.on))

    async def _counted(
        self, who: Principal, lines: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        with self._open.counted(who):
            async with aclosing(lines):
                async for line in lines:
                    yield line

    async def _lines(
        self, who: Principal, wanted: Wanted, position: int, on: bool
    ) -> AsyncGenerator[bytes, None]:
        yield place(position, "events", retry=True)
        checked = said = time.monotonic()
        while not self.tail.ending:
            try:
                if time.monotonic() - checked >= _CHECK_TOKEN:
                    if not await self._access.valid(who.token_id):
                        return
                    checked = time.monotonic()
                blocks, position, more = await self._read(wanted, position)
            except Unavailable:
                blocks, more = [place(position, "the database does not answer")], True
                await asyncio.sleep(_WAIT)
            for block in blocks:
                yield block
                said = time.monotonic()
            if more:
                continue
            if not on:
                return
            await self.tail.beyond(position, _WAIT)
            if time.monotonic() - said >= _HEARTBEAT - _WAIT:
                said = time.monotonic()
                yield place(position, "heartbeat")

    async def _read(self, wanted: Wanted, position: int) -> tuple[list[bytes], int, bool]:
        """Give what comes next, the position behind it, and whether there is more; in one view."""
        async with self._database.reading() as connection:
            there = await events.stretch(connection)
            if position < there.floor:
                reason = f"events up to id {there.floor} are not kept any more"
                return [reset(there.floor, reason)], there.floor, True
            if position > there.newest:
                reason = f"id {position} was not given yet: this is not the database it came from"
                return [reset(there.newest, reason)], there.newest, True
            page = await events.after(connection, position, wanted, _PAGE)
        if len(page) == _PAGE:
            return [sent(event) for event in page], page[-1].id, True
        return [sent(event) for event in page], there.newest, False
