"""Tells how nodes are as events: when it changes, and so that a busy fleet does not write all the time."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.controller.declared.state import State
from edgeward.controller.nodes.registry import Node, Registry
from edgeward.database import schema
from edgeward.database.engine import Database, Writing, current_revision
from edgeward.declaration import events, told
from edgeward.declaration.told import Told
from edgeward.errors import EdgewardError
from edgeward.log import logger

_EVERY: Final = 1.0
_GONE: Final = 3.0
"""A node may come back within this without anybody hearing of it."""
_STRANGERS_EVERY: Final = 10.0
_SILENT: Final = 30.0
"""Reports are written down every 5 s, so this long without one is gone from every controller."""
_LAGGING: Final = 5.0
_RECENT: Final = 1000
_log = logger("edgeward.controller.nodes.health_events")
_nodes = schema.nodes


class Telling:
    """Compares the nodes that follow this controller with what was told of them, once a second.

    What was told is in the database, written with the events: a restarted controller, or another one, goes
    on from there. A node that follows none is told by whoever notices first.
    """

    def __init__(
        self, database: Database, registry: Registry, state: State, clock: Callable[[], float], me: str
    ) -> None:
        self._database = database
        self._registry = registry
        self._state = state
        self._clock = clock
        self._me = me
        self._told: dict[str, Told] | None = None
        """What the database said of each node when it was last looked at."""
        self._missing: dict[str, float] = {}
        self._strangers_at = 0.0
        self._lagging_at = 0.0

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            try:
                await self.tell()
            except EdgewardError as error:
                _log.warning("how nodes are is not told now", reason=str(error))
            await asyncio.sleep(_EVERY)

    async def tell(self) -> None:
        """Tell what changed since the last time, all of it in one transaction."""
        now = self._clock()
        cached = await self._cached()
        here = {n.name: n for n in self._registry if n.stream is not None and self._registry.connected(n)}
        declared = await self._recent(here.values(), now)
        due = {n for n in here if cached.get(n) != self._status(here[n], cached.get(n, Told()), declared)}
        due |= (self._gone(here.keys(), now) | await self._strangers(now)) - here.keys()
        if not due:
            return
        async with self._database.writing() as writing:
            rows = await self._rows(writing.connection, due)
            after = {
                name: self._status(here[name], before, declared)
                if name in here
                else self._without(name, before, seen, now)
                for name, (before, seen) in rows.items()
            }
            changed = {name: told_now for name, told_now in after.items() if told_now != rows[name][0]}
            await self._write(writing, changed, {name: rows[name][0] for name in changed}, now)
        for name in due:
            self._missing.pop(name, None)
            cached.pop(name, None)
        cached |= after

    async def _write(
        self, writing: Writing, after: Mapping[str, Told], before: Mapping[str, Told], now: float
    ) -> None:
        if not after:
            return
        made = [one for name, status in after.items() for one in told.news(name, before[name], status, now)]
        await events.record(writing, made, await current_revision(writing.connection), now)
        row = update(_nodes).where(_nodes.c.name == bindparam("n")).values(told=bindparam("t"))
        values = [{"n": name, "t": status.text()} for name, status in after.items()]
        await writing.connection.execute(row, values)

    async def _cached(self) -> dict[str, Told]:
        if self._told is None:
            async with self._database.reading() as connection:
                rows = (await connection.execute(select(_nodes.c.name, _nodes.c.told))).all()
            self._told = {row.name: told.read(row.told) for row in rows}
        return self._told

    def _without(self, name: str, before: Told, seen: float, now: float) -> Told:
        """Give the status of a node that does not follow this controller."""
        gone = before.by == self._me or self._is_silent(name, seen, now)
        return replace(before, connected=False) if gone else before

    def _is_silent(self, name: str, seen: float, now: float) -> bool:
        """Whether no controller heard of a node lately. ``seen`` is by the clock of one that may be wrong."""
        node = self._registry.find(name)
        return seen < now - _SILENT and (node is None or not self._registry.connected(node))

    def _gone(self, here: Collection[str], now: float) -> set[str]:
        """Give the nodes that followed this controller and do not any more."""
        mine = {n for n, t in (self._told or {}).items() if t.connected and t.by == self._me}
        self._missing = {name: self._missing.get(name, now) for name in mine if name not in here}
        return {name for name, since in self._missing.items() if not 0 <= now - since < _GONE}

    async def _strangers(self, now: float) -> set[str]:
        """Give the nodes that are told to be connected and were heard of by no controller lately."""
        if 0 <= now - self._strangers_at < _STRANGERS_EVERY:
            return set()
        self._strangers_at = now
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(_nodes.c.name, _nodes.c.told, _nodes.c.seen))).all()
        connected = (row for row in rows if told.read(row.told).connected)
        return {row.name for row in connected if self._is_silent(row.name, row.seen, now)}

    def _status(self, node: Node, before: Told, declared: Sequence[int]) -> Told:
        """Give how a node that follows this controller is; of one that did not report yet, as it was told."""
        if node.report is None or node.stream is None or not node.stream.reported:
            return replace(before, connected=True, by=self._me)
        rejections = told.shortened({r.object: r.message for r in node.report.rejections})
        place = bisect_right(declared, node.report.revision)
        revision = declared[place - 1] if place else before.revision
        return Told(True, revision, rejections, self._me)

    async def _recent(self, nodes: Collection[Node], now: float) -> Sequence[int]:
        """Give declared revisions in order; certificates have revisions, too, of which nobody wants to hear.

        While nodes lag behind a stream of changes, the ones in between are given every 5 s only.
        """
        newest = self._state.revision
        lag = any(node.report is not None and node.report.revision < newest for node in nodes)
        if not lag or 0 <= now - self._lagging_at < _LAGGING:
            return [newest]
        self._lagging_at = now
        table = schema.revisions.c.revision
        query = select(table).distinct().order_by(table.desc()).limit(_RECENT)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).scalars().all()
        return sorted({*found, newest})

    async def _rows(self, connection: AsyncConnection, names: set[str]) -> dict[str, tuple[Told, float]]:
        """Give what was told of these nodes by anybody; one that was forgotten is not among them."""
        found: dict[str, tuple[Told, float]] = {}
        wanted = sorted(names)
        for start in range(0, len(wanted), _RECENT):
            some = _nodes.c.name.in_(wanted[start : start + _RECENT])
            query = select(_nodes.c.name, _nodes.c.told, _nodes.c.seen).where(some)
            rows = (await connection.execute(query)).all()
            found |= {row.name: (told.read(row.told), row.seen) for row in rows}
        return found
