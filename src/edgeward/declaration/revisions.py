"""What each revision changed, written down with it; forgotten whole, and only beyond a bound."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Writing
from edgeward.declaration import audit
from edgeward.declaration.model import SINGLETONS, Change, Key

INSTALLATION: Final = "*"
"""Stands where a project does, for what belongs to no project."""
MOST_OBJECTS: Final = 20
"""How many of its objects a revision names without looking at its changes."""
_ROWS_AT_ONCE: Final = 2000
_table = schema.revisions


@dataclass(frozen=True)
class Bounds:
    """How much history there is: of each, the newest; ``seconds`` never takes the newest ``always``."""

    changes: int = 1_000_000
    size: int = 512 * 1024**2
    """Bytes of values."""
    seconds: float = 400 * 86400.0
    always: int = 100


@dataclass(frozen=True)
class Author:
    """Who makes a change, and as which source; ``rolled_back_to`` where it undoes newer ones."""

    who: str
    source: str
    rolled_back_to: int | None = None


@dataclass(frozen=True)
class Swept:
    """What was forgotten: everything up to ``revision``, whose last one was made ``at``."""

    revision: int
    at: float
    revisions: int
    changes: int


@dataclass
class Part:
    """What a revision changed in one project."""

    created: int = 0
    changed: int = 0
    deleted: int = 0
    size: int = 0
    objects: list[tuple[str, str]] = field(default_factory=list)

    def add(self, change: Change, size: int) -> None:
        self.created += change.action == "create"
        self.changed += change.action == "change"
        self.deleted += change.action == "delete"
        self.size += size
        if len(self.objects) < MOST_OBJECTS:
            self.objects.append((change.action, str(change.key)))


def project_of(key: Key) -> str:
    """Give whose history an object is part of: its project's, or the installation's."""
    return INSTALLATION if key.kind in SINGLETONS else key.project


async def record(writing: Writing, changes: Sequence[Change], author: Author, now: float) -> dict[str, Part]:
    """Write down what this transaction changes; give its parts by project."""
    entries = [audit.entry(change, author.who, author.source) for change in changes]
    sizes = await audit.record(writing, entries, now)
    parts = split(zip(changes, sizes, strict=True))
    rows = [_row(project, part, author, writing.revision or 0, now) for project, part in parts.items()]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        await writing.connection.execute(insert(_table), rows[start : start + _ROWS_AT_ONCE])
    return parts


def split(changes: Iterable[tuple[Change, int]]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for change, size in changes:
        parts.setdefault(project_of(change.key), Part()).add(change, size)
    return parts


async def times(connection: AsyncConnection, some: Collection[int]) -> dict[int, float]:
    """Give when revisions were made, in Unix seconds; of those that are not forgotten yet."""
    query = select(_table.c.revision, func.min(_table.c.at)).where(_table.c.revision.in_(sorted(some)))
    rows = await connection.execute(query.group_by(_table.c.revision))
    return {row[0]: row[1] for row in rows}


async def sweep(writing: Writing, now: float, bounds: Bounds = Bounds()) -> Swept | None:
    """Forget the oldest revisions beyond the bounds, each whole; never the newest one."""
    mark = await _mark(writing, now, bounds)
    if mark is None:
        return None
    gone = _table.c.revision <= mark
    changes = _table.c.created + _table.c.changed + _table.c.deleted
    counted = select(func.count(_table.c.revision.distinct()), func.sum(changes), func.max(_table.c.at))
    revisions, count, at = (await writing.connection.execute(counted.where(gone))).one()
    history = schema.audit.c.revision.between(1, mark)
    await writing.connection.execute(delete(schema.audit).where(history))
    await writing.connection.execute(delete(_table).where(gone))
    await writing.connection.execute(update(schema.counter).values(history=mark))
    return Swept(mark, at, revisions, count)


async def _mark(writing: Writing, now: float, bounds: Bounds) -> int | None:
    """Give the newest revision to forget, None where there is none."""
    changes = func.sum(_table.c.created + _table.c.changed + _table.c.deleted)
    whole = (
        select(_table.c.revision, changes.label("changes"), func.sum(_table.c.size).label("size"))
        .group_by(_table.c.revision)
        .subquery()
    )
    newest_first = whole.c.revision.desc()
    summed = select(
        whole.c.revision,
        func.row_number().over(order_by=newest_first).label("place"),
        func.sum(whole.c.changes).over(order_by=newest_first).label("changes"),
        func.sum(whole.c.size).over(order_by=newest_first).label("size"),
    ).subquery()
    beyond = (summed.c.changes > bounds.changes) | (summed.c.size > bounds.size)
    too_many = select(func.max(summed.c.revision)).where(beyond, summed.c.place > 1)
    old = select(_table.c.revision).where(_table.c.at < now - bounds.seconds)
    too_old = select(func.max(summed.c.revision)).where(
        summed.c.place > bounds.always, summed.c.revision.in_(old)
    )
    marks = [(await writing.connection.execute(query)).scalar() for query in (too_many, too_old)]
    return max((mark for mark in marks if mark is not None), default=None)


def _row(project: str, part: Part, author: Author, revision: int, now: float) -> dict[str, Any]:
    return {
        "revision": revision,
        "project": project,
        "at": now,
        "who": author.who[:200],
        "source": author.source[:300],
        "rolled_back_to": author.rolled_back_to,
        "created": part.created,
        "changed": part.changed,
        "deleted": part.deleted,
        "size": part.size,
        "objects": json.dumps(part.objects, ensure_ascii=False),
    }
