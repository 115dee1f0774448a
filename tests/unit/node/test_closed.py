"""A domain that may have no more new names: its names are not asked for one by one, and known ones are served."""

from __future__ import annotations

import asyncio

from edgeward.node.certificates.obtaining import NoNewNames, Obtaining, Outcome
from edgeward.node.certificates.secrets import Kept


async def test_names_that_wait_for_their_turn_are_not_asked_for_once_it_is_of_no_use():
    asked: list[str] = []
    outcomes: list[Outcome] = []
    closed = False

    async def fetch(name: str, _: float) -> Kept:
        nonlocal closed
        asked.append(name)
        await asyncio.sleep(0.01)
        closed = True
        raise NoNewNames("there are enough")

    obtaining = Obtaining(fetch, outcomes.append, lambda _: closed)
    async with asyncio.TaskGroup() as group:
        for n in range(500):
            assert obtaining.start(f"{n}.c.example", group)

    assert len(asked) <= 64
    assert len(outcomes) == 500 and all(outcome.closed and outcome.kept is None for outcome in outcomes)
