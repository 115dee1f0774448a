"""Everything that happens, in one order: events in the database, read on from any of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Writing
from edgeward.declaration.revisions import INSTALLATION, Author, Part

TYPES: Final = ("change", "node", "openresty", "tunnel")
KEEP_SECONDS: Final = 14 * 86400.0
MOST_ROWS: Final = 100_000
_ROWS_AT_ONCE: Final = 2000
_table = schema.events


@dataclass(frozen=True)
class Happened:
    """An event that is to be written; ``project`` None: of the whole installation."""

    type: str
    project: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """One event; ids grow, and who has seen one has seen all those before it. ``at`` in Unix seconds."""

    id: int
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which events somebody follows; ``project`` None: all of them."""

    types: Collection[str] = TYPES
    project: str | None = None


@dataclass(frozen=True)
class Stretch:
    """Which ids there are: those behind ``floor`` up to ``newest``."""

    floor: int
    newest: int


def of_change(parts: Mapping[str, Part], author: Author, revision: int, now: float) -> list[Happened]:
    """Give the events of one revision: one for each project it changed."""
    return [
        Happened(
            "change",
            None if project == INSTALLATION else project,
            {
                "at": now,
                "revision": revision,
                "project": None if project == INSTALLATION else project,
                "who": author.who,
                "source": author.source,
                "rolled_back_to": author.rolled_back_to,
                "created": part.created,
                "changed": part.changed,
                "deleted": part.deleted,
                "objects": [{"action": action, "key": key} for action, key in part.objects],
            },
        )
        for project, part in parts.items()
    ]


async def record(writing: Writing, happened: Sequence[Happened], revision: int, now: float) -> None:
    """Write events into the transaction they tell about."""
    for start in range(0, len(happened), _ROWS_AT_ONCE):
        rows = [
            {
                "at": now,
                "type": one.type,
                "project": one.project,
                "revision": revision,
                "data": json.dumps(one.data, separators=(",", ":"), ensure_ascii=False),
            }
            for one in happened[start : start + _ROWS_AT_ONCE]
        ]
        await writing.connection.execute(insert(_table), rows)


async def stretch(connection: AsyncConnection) -> Stretch:
    newest = select(func.max(_table.c.id)).scalar_subquery()
    row = (await connection.execute(select(schema.counter.c.events, newest.label("newest")))).one()
    return Stretch(row.events, max(row.events, row.newest or 0))


async def after(connection: AsyncConnection, position: int, wanted: Wanted, limit: int) -> list[Event]:
    """Give the next events behind ``position``."""
    query = _wanted(select(_table), wanted).where(_table.c.id > position).order_by(_table.c.id).limit(limit)
    rows = (await connection.execute(query)).all()
    return [Event(row.id, row.type, json.loads(row.data)) for row in rows]


async def about(connection: AsyncConnection, kind: str, subject: str, last: int) -> list[Event]:
    """Give the newest events of a type whose data has this ``id``, the oldest first."""
    mark = json.dumps({"id": subject}, separators=(",", ":"))[1:-1]
    query = select(_table).where(_table.c.type == kind, _table.c.data.contains(mark, autoescape=True))
    rows = (await connection.execute(query.order_by(_table.c.id.desc()).limit(last))).all()
    return [Event(row.id, row.type, json.loads(row.data)) for row in reversed(rows)]


async def place_before(connection: AsyncConnection, count: int, wanted: Wanted) -> int:
    """Give the position behind which the newest ``count`` events are."""
    query = _wanted(select(_table.c.id), wanted).order_by(_table.c.id.desc()).offset(count).limit(1)
    found = (await connection.execute(query)).scalar()
    return (await stretch(connection)).floor if found is None else int(found)


async def sweep(writing: Writing, now: float, keep: float = KEEP_SECONDS, most: int = MOST_ROWS) -> int:
    """Forget events older than ``keep`` seconds or beyond ``most``; give how many."""
    old = select(func.max(_table.c.id)).where(_table.c.at < now - keep)
    beyond = select(_table.c.id).order_by(_table.c.id.desc()).offset(most).limit(1)
    marks = [(await writing.connection.execute(query)).scalar() for query in (old, beyond)]
    mark = max((m for m in marks if m is not None), default=None)
    if mark is None:
        return 0
    swept = await writing.connection.execute(delete(_table).where(_table.c.id <= mark))
    await writing.connection.execute(update(schema.counter).values(events=mark))
    return swept.rowcount


def _wanted(query: Select[Any], wanted: Wanted) -> Select[Any]:
    if set(wanted.types) != set(TYPES):
        query = query.where(_table.c.type.in_(list(wanted.types)))
    return query if wanted.project is None else query.where(_table.c.project == wanted.project)
