"""The controllers on one database: who they are, and what each knows of nodes that follow another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import delete, insert, select, update

from edgeward.access.authenticate import Authenticator
from edgeward.controller.nodes.reading import with_name
from edgeward.controller.nodes.registry import SILENCE, Registry
from edgeward.database import schema
from edgeward.database.engine import Database, Unreachable
from edgeward.declaration.feed import Report
from edgeward.errors import EdgewardError

_BEAT: Final = 5.0
_GATHER: Final = 0.02
_GONE: Final = 3600.0
_nodes, _controllers = schema.nodes, schema.controllers


@dataclass(frozen=True)
class Controller:
    """One run of a controller; ``id`` is new at every start. Times are Unix seconds."""

    id: str
    name: str
    url: str
    version: str
    started: float
    seen: float


class Fleet:
    """Keeps the registry true of nodes that follow other controllers.

    A node that follows here is known best here; of the others the database tells, and NOTIFY tells when.
    On SQLite there are no others, and nothing is written.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        access: Authenticator,
        me: Controller,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._registry = registry
        self._access = access
        self.me = me
        self._clock = clock
        self._others: Sequence[Controller] = ()
        self._heard: dict[str, tuple[float, float]] = {}
        """Of controllers and nodes: what they last wrote as ``seen``, and when that was news by our clock."""
        self._dirty: set[str] = set()
        self._all_dirty = True
        self._wake = asyncio.Event()
        self._followed: dict[str, str | None] = {}
        database.on("node", self._hear_of_node)
        database.on("token", self._hear_of_token)
        for topic in ("regained", "controllers"):
            database.on(topic, lambda _: self._look_at_all())
        registry.followed = self._hear_of_node

    def at(self, url: str) -> None:
        """Say where this controller serves its API."""
        self.me = replace(self.me, url=url)

    def shown(self) -> list[dict[str, Any]]:
        """Give the controllers heard of lately, this one first."""
        now = self._clock()
        others = [c for c in self._others if now - self._note_seen(c.id, c.seen) < SILENCE]
        mine = replace(self.me, seen=now)
        return [{**asdict(c), "here": c is mine} for c in (mine, *others)]

    async def run(self) -> None:
        """Beat and look until cancelled."""
        if not self._database.shared:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            while True:
                with suppress(EdgewardError):
                    await self._beat()
                await asyncio.sleep(_BEAT)
                self._look_at_all()

    async def load(self) -> None:
        """Take in who follows which controller, at the start."""
        if self._database.shared:
            await self._refresh(None)

    async def leave(self) -> None:
        """Say that this controller ends."""
        if self._database.shared:
            with suppress(EdgewardError, TimeoutError):
                async with asyncio.timeout(2), self._database.noting() as connection:
                    mine = update(_nodes).where(_nodes.c.controller == self.me.id)
                    await connection.execute(mine.values(controller=None))
                    await connection.execute(delete(_controllers).where(_controllers.c.id == self.me.id))

    async def note(self, name: str, values: Mapping[str, Any]) -> None:
        """Write down what a node that follows here said, and tell the others; later, where that cannot be."""
        row = update(_nodes).where(_nodes.c.name == name)
        followed = self.me.id if self._database.shared else None
        node = self._registry.find(name)
        try:
            async with self._database.noting() as connection:
                await connection.execute(row.values(**values, controller=followed))
        except Unreachable:
            if node is not None:
                node.stored = 0.0  # then the next report is written down
            return
        if node is not None and node.stream is not None:
            node.stream.noted = True
        await self._database.tell("node", name)

    # --- nodes that follow others ----------------------------------------------------------

    def _hear_of_node(self, name: str) -> None:
        self._dirty.add(name)
        self._wake.set()

    def _look_at_all(self) -> None:
        self._all_dirty = True
        self._wake.set()

    def _hear_of_token(self, token_id: str) -> None:
        self._access.forget(token_id)
        self._registry.cut(token_id)

    async def _look(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            self._wake.clear()
            everything, names = self._all_dirty, sorted(self._dirty)
            self._all_dirty, self._dirty = False, set()
            try:
                await self._note_ours()
                await self._refresh(None if everything else names)
                if everything:
                    await self._check_tokens()
            except EdgewardError:
                self._all_dirty = True  # looked at with the next beat
            await self._registry.announce()

    async def _note_ours(self) -> None:
        """Write down who follows here by now, where that was not done."""
        for node in self._registry:
            if node.stream is not None and not node.stream.noted:
                await self.note(node.name, {"seen": self._clock()})
            elif node.stream is None and node.left_here:
                gone = update(_nodes).where(_nodes.c.name == node.name, _nodes.c.controller == self.me.id)
                async with self._database.noting() as connection:
                    await connection.execute(gone.values(controller=None))
                node.left_here = False
                await self._database.tell("node", node.name)

    async def _refresh(self, names: Sequence[str] | None) -> None:
        """Take in the rows of these nodes, or of all that changed."""
        known = {node.name for node in self._registry}
        async with self._database.reading() as connection:
            rows_of_all = (await connection.execute(select(_controllers))).mappings()
            self._others = [Controller(**row) for row in rows_of_all if row["id"] != self.me.id]
            if names is None:
                query = select(_nodes.c.name, _nodes.c.seen, _nodes.c.controller)
                rows = (await connection.execute(query)).all()
                names = [r.name for r in rows if self._is_news(r)]
                gone = known - {row.name for row in rows}
            else:
                gone = known & set(names)
            found: list[Any] = []
            for start in range(0, len(names), 500):
                some = select(_nodes).where(_nodes.c.name.in_(names[start : start + 500]))
                found += (await connection.execute(some)).all()
        for other in self._others:
            self._note_seen(other.id, other.seen)
        for row in found:
            self._take(row)
        for name in gone - {row.name for row in found}:
            self._followed.pop(name, None)
            self._registry.forget(name)

    def _take(self, row: Any) -> None:
        heard = self._note_seen(row.name, row.seen)
        self._followed[row.name] = row.controller
        node = self._registry.know(row.name, row.joined, row.seen, None)
        self._registry.label(row.name, with_name(row.name, row.labels))
        elsewhere = row.controller if row.controller not in (None, self.me.id) else None
        if node.stream is not None:
            if elsewhere is not None and node.stream.noted:
                node.stream.ended.set()  # it follows another one by now, and that one knows better
            return
        node.elsewhere = elsewhere
        node.seen = max(node.seen, heard)
        if elsewhere is not None or node.report is None:
            with suppress(ValidationError):  # none yet, or written by another version
                node.report = Report.model_validate_json(row.report)

    def _is_news(self, row: Any) -> bool:
        seen, _ = self._heard.get(row.name, (None, None))
        changed: bool = (seen, self._followed.get(row.name)) != (row.seen, row.controller)
        return changed

    def _note_seen(self, who: str, seen: float) -> float:
        """Give when somebody was last heard of, by our clock: theirs may be wrong."""
        before = self._heard.get(who)
        if before is None:
            self._heard[who] = (seen, min(seen, self._clock()))
        elif before[0] != seen:
            self._heard[who] = (seen, self._clock())
        return self._heard[who][1]

    async def _check_tokens(self) -> None:
        """Cut feeds whose token was revoked while nobody could tell us."""
        for node in self._registry:
            if node.stream is not None and not await self._access.valid(node.stream.token_id):
                node.stream.ended.set()

    async def _beat(self) -> None:
        now = self._clock()
        row = asdict(self.me) | {"seen": now}
        async with self._database.noting() as connection:
            mine = update(_controllers).where(_controllers.c.id == self.me.id)
            known = (await connection.execute(mine.values(url=self.me.url, seen=now))).rowcount
            if not known:
                await connection.execute(insert(_controllers).values(row))
            await connection.execute(delete(_controllers).where(_controllers.c.seen < now - _GONE))
        if not known:
            await self._database.tell("controllers", self.me.id)
