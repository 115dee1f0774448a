"""How many new names may come about within an hour: strangers choose the names of domains on demand.

What was taken stands in the database, in slots of five minutes, and counts for the hour after. A controller
takes some ahead, so that a flood of names is not one of transactions; what it did not use is lost with its
slot, or with itself: the sum never passes the limit, whatever ends when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database.engine import Database, Writing
from edgeward.database.schema import budgets
from edgeward.errors import Refused

_SLOT_SECONDS: Final = 300
_SLOTS: Final = 12
_MOST_AHEAD: Final = 64
_SHARE_AHEAD: Final = 20
_columns = budgets.c


class Exhausted(Refused):
    """There may be no more new names for a while, whichever: nodes need not ask for each."""


@dataclass(frozen=True, slots=True)
class Purse:
    """What is counted together: ``scope`` is domain, project or all."""

    scope: str
    key: str

    def __str__(self) -> str:
        return {"domain": f"below {self.key}", "project": f"of project {self.key}"}.get(self.scope, "in all")


@dataclass(slots=True)
class _Held:
    """What this controller has taken ahead for a slot; ``empty``: there is no more until a next one."""

    slot: int
    left: int = 0
    empty: bool = False


class Ledger:
    """``take`` one name's worth of every purse."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[Purse, _Held] = {}
        self._turn = asyncio.Lock()

    async def take(self, limits: Mapping[Purse, int], now: float) -> None:
        """Take one from each purse, or from none; raises Exhausted where one is empty."""
        slot = int(now // _SLOT_SECONDS)
        async with self._turn:
            self._refuse_empty(limits, slot)
            lacking = {purse: limit for purse, limit in limits.items() if not self._of(purse, slot).left}
            if lacking:
                await self._fill(lacking, slot)
                self._refuse_empty(limits, slot)
            for purse in limits:
                self._held[purse].left -= 1

    def _of(self, purse: Purse, slot: int) -> _Held:
        held = self._held.get(purse)
        if held is None or held.slot != slot:
            held = self._held[purse] = _Held(slot)
        return held

    def _refuse_empty(self, limits: Mapping[Purse, int], slot: int) -> None:
        for purse, limit in limits.items():
            if self._of(purse, slot).empty:
                raise Exhausted(
                    f"{limit} new names {purse} within an hour are all there may be; raise budgets"
                )

    async def _fill(self, lacking: Mapping[Purse, int], slot: int) -> None:
        async with self._database.writing() as writing:
            await writing.connection.execute(delete(budgets).where(_columns.slot <= slot - 2 * _SLOTS))
            taken = {purse: await _taken(writing.connection, purse, slot) for purse in lacking}
            ahead = {purse: _ahead(limit, taken[purse]) for purse, limit in lacking.items()}
            for purse, more in ahead.items():
                if more:
                    await _add(writing, purse, slot, more)
        self._forget(slot)
        for purse, more in ahead.items():
            held = self._of(purse, slot)
            held.left, held.empty = more, not more

    def _forget(self, slot: int) -> None:
        for purse in [purse for purse, held in self._held.items() if held.slot != slot]:
            del self._held[purse]


def _ahead(limit: int, taken: int) -> int:
    wanted = max(1, min(_MOST_AHEAD, limit // _SHARE_AHEAD))
    return max(0, min(wanted, limit - taken))


async def _taken(connection: AsyncConnection, purse: Purse, slot: int) -> int:
    """Count what was taken in the last hour, and by clocks that are ahead of ours."""
    query = select(func.coalesce(func.sum(_columns.taken), 0))
    query = query.where(
        _columns.scope == purse.scope, _columns.key == purse.key, _columns.slot >= slot - _SLOTS
    )
    return int((await connection.execute(query)).scalar_one())


async def _add(writing: Writing, purse: Purse, slot: int, more: int) -> None:
    here = (_columns.scope == purse.scope) & (_columns.key == purse.key) & (_columns.slot == slot)
    changed = budgets.update().where(here).values(taken=_columns.taken + more)
    if (await writing.connection.execute(changed)).rowcount == 0:
        row = {"scope": purse.scope, "key": purse.key, "slot": slot, "taken": more}
        await writing.connection.execute(budgets.insert().values(row))
