"""That clients are answered again is told to whichever controller flushes, however the database is."""

from __future__ import annotations

import asyncio

from edgeward.controller.declared.state import State
from edgeward.controller.openresty import upkeep
from edgeward.controller.openresty.upkeep import TOPIC, Upkeep
from edgeward.errors import Unavailable
from edgeward.sealing import Seal


class Telling:
    """A database that is away for the first two times."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.tries = 0

    def on(self, _topic: str, _call: object) -> None:
        pass

    async def tell(self, topic: str, text: str) -> None:
        self.tries += 1
        if self.tries < 3:
            raise Unavailable("the database does not answer")
        self.told.append((topic, text))


async def test_it_is_told_once_for_each_time_and_tried_until_it_is(monkeypatch):
    monkeypatch.setattr(upkeep, "_LOOK", 0.001)
    database, answers = Telling(), asyncio.Event()
    made = Upkeep(database, State(), Seal(bytes(32)), lambda: None, asyncio.Event(), lambda: 0.0)
    task = asyncio.create_task(made.announce(answers))
    try:
        for wanted in (1, 2):
            answers.set()
            async with asyncio.timeout(30):
                while len(database.told) < wanted or answers.is_set():
                    await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)

        assert database.told == [(TOPIC, "flush")] * 2
        assert not task.done()
    finally:
        task.cancel()
